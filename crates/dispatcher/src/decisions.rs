//! What a start says of decisions: for each command who decides, in what order, and what happens when nobody does.

use dispatcher_config::{Config, DecideSettings, DefaultDecision, HandlerInstance};
use dispatcher_control::Moment;
use dispatcher_core::Timestamp;
use dispatcher_decider::{CommandPlan, Deciders, Fallback};

/// The lines of it; commands of which the same can be said share one.
pub(crate) fn lines(config: &Config, deciders: &Deciders) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    let mut undecided = Vec::new();
    for info in tencent_chat::commands() {
        let Some(plan) = deciders.plan(info.name) else { continue };
        if plan.deciders.is_empty() && plan.default == Fallback::Allow {
            undecided.push(info.name);
            continue;
        }
        let text = plan_text(config, deciders, &plan);
        match groups.iter_mut().find(|(known, _)| *known == text) {
            Some((_, commands)) => commands.push(info.name),
            None => groups.push((text, vec![info.name])),
        }
    }
    if groups.is_empty() {
        return vec!["nobody decides: every callback that wants a decision is allowed".to_owned()];
    }
    let is_one = groups.len() == 1 && undecided.is_empty();
    let line = |(text, commands): (String, Vec<&str>)| match is_one {
        true => format!("every command that wants one: {text}"),
        false => format!("{}: {text}", commands.join(", ")),
    };
    let mut lines: Vec<String> = groups.into_iter().map(line).collect();
    if !undecided.is_empty() {
        lines.push("every other command: allowed, since nobody decides".to_owned());
    }
    lines
}

fn plan_text(config: &Config, deciders: &Deciders, plan: &CommandPlan) -> String {
    let settings = |name: &str| {
        let handler = config.handlers.iter().find(|handler| handler.name == name)?;
        Some((handler, handler.decide.as_ref()?))
    };
    let counting = plan.deciders.iter().filter(|(_, is_shadow)| !is_shadow).filter_map(|(name, _)| settings(name));
    let counting: Vec<_> = counting.collect();
    let default = match plan.default {
        Fallback::Allow => "allowed",
        Fallback::Refuse => "refused",
    };
    let mut text =
        counting.iter().map(|(handler, decide)| decider(handler, decide)).collect::<Vec<_>>().join(", then ");
    if counting.is_empty() {
        text = format!("{default}, since nobody decides");
    } else if counting.iter().all(|(handler, _)| handler.route.apps.is_some()) {
        text += &format!("; {default} for other apps");
    }
    for (name, _) in plan.deciders.iter().filter(|(_, is_shadow)| *is_shadow) {
        let until = deciders.status().into_iter().find(|decider| decider.name == *name);
        let until = until.and_then(|decider| decider.shadow_until).map(Timestamp::from_millis).map(Moment);
        text += &format!("; {name} as a shadow{}", until.map(|until| format!(" until {until}")).unwrap_or_default());
    }
    text
}

/// A decider, and what counts in its place where that is not to allow.
fn decider(handler: &HandlerInstance, decide: &DecideSettings) -> String {
    let mut more = Vec::new();
    if let Some(apps) = &handler.route.apps {
        more.push(format!("apps {}", apps.join(", ")));
    }
    let fallbacks = [("late", decide.if_late), ("failed", decide.if_failed), ("busy", decide.if_busy)];
    let refusing = fallbacks.into_iter().filter(|(_, decision)| *decision == DefaultDecision::Refuse);
    let refusing: Vec<&str> = refusing.map(|(when, _)| when).collect();
    if !refusing.is_empty() {
        more.push(format!("refused if {}", refusing.join(" or ")));
    }
    if more.is_empty() { handler.name.clone() } else { format!("{} ({})", handler.name, more.join("; ")) }
}
