//! Marked secrets and marked words go through every path, failures included, and then everything that the program wrote is
//! searched for them: what it said, what it answered, its metrics, and all that its commands print unless they are asked for
//! contents.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;
mod wire;

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    commands::eventually,
    wire::{Running, exchange, post, query},
};

/// What nobody may see: the team's secrets, what people write to each other, and the words that are looked for.
const TOKEN: &str = "token/mark+1a";
const TOKEN_IN_FILE: &str = "token/mark+2b";
const TOKEN_IN_ENV: &str = "token/mark+3c";
const ENDPOINT_TOKEN: &str = "token/mark+4d";
const SINK_TOKEN: &str = "token/mark+5e";
const HEADER: &str = "header/mark+6f";
const URL_KEY: &str = "url-mark-7a";
const WEBHOOK_KEY: &str = "webhook/mark+8b-and-16-more-bytes";
const ADMIN_TOKEN: &str = "admin/mark+e3-and-some-more-bytes-to-be-long";
const ADMIN_TOKEN_IN_FILE: &str = "admin/mark+f4-and-some-more-bytes-to-be-long";
/// Nobody's: what somebody tries.
const WRONG_ADMIN_TOKEN: &str = "admin/mark+0a-and-some-more-bytes-to-be-long";
const CHAT: &str = "chat/mark+9c";
const WORD: &str = "word/mark+ad";
const CLIENT_IP: &str = "203.0.113.77";
const SIGN: &str = "sign-mark-be";
/// Whom it is about. These are keys, too, and commands that list rows show keys; nothing else does.
const USER: &str = "user/mark+c1";
const GROUP: &str = "group/mark+d2";

/// The program of `tests/programs` whose plugins do as they are told. Cargo builds it with the tests.
fn program() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_dispatcher"));
    folder.parent().unwrap().join("examples").join("misbehaving")
}

fn run(folder: &Path, args: &[&str]) -> Output {
    run_with(folder, args, &[])
}

fn run_with(folder: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program());
    command.envs(environment.iter().copied()).env("MARKED", TOKEN_IN_ENV);
    command.args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

/// A receiver that answers with what it got, in words and in base64, and with a status that the path names; `/closes` without an
/// answer.
struct Echo {
    addr: String,
    is_well: Arc<AtomicBool>,
}

impl Echo {
    fn start() -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let is_well = Arc::new(AtomicBool::new(false));
        let well = is_well.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let well = well.clone();
                thread::spawn(move || stream.map(|stream| Echo::answer(stream, &well)));
            }
        });
        Echo { addr, is_well }
    }

    /// One request for each connection.
    fn answer(mut stream: TcpStream, well: &AtomicBool) -> Option<()> {
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        let head = loop {
            if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let n = stream.read(&mut piece).ok().filter(|&n| n > 0)?;
            got.extend_from_slice(&piece[..n]);
        };
        let text = String::from_utf8_lossy(&got[..head]).to_lowercase();
        let length: usize = text.split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
        while got.len() < head + 4 + length {
            let n = stream.read(&mut piece).ok().filter(|&n| n > 0)?;
            got.extend_from_slice(&piece[..n]);
        }
        let path = text.split([' ', '?']).nth(1)?.to_owned();
        let status = match &*path {
            _ if well.load(Relaxed) => "200 OK",
            "/nonsense" => "200 OK",
            "/refuses" => "400 Bad Request",
            "/moves" => "302 Found",
            "/closes" => return None,
            _ => "500 Broken",
        };
        let (body, got) = (String::from_utf8_lossy(&got[head + 4..]), String::from_utf8_lossy(&got));
        let echo = match well.load(Relaxed) {
            true => tencent_chat::OK.to_owned(),
            false => format!("I do not like {body} of {got} which is {} to me", base64(got.as_bytes())),
        };
        let location = format!("http://elsewhere.example/{}", percent(CHAT, true));
        let n = echo.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nlocation: {location}\r\nconnection: close\r\ncontent-length: {n}\r\n\r\n{echo}"
        );
        stream.write_all(answer.as_bytes()).ok()
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let mut padded = [0; 3];
        padded[..three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        out.extend([digit(bits >> 18), digit(bits >> 12)]);
        out.push(if three.len() > 1 { digit(bits >> 6) } else { '=' });
        out.push(if three.len() > 2 { digit(bits) } else { '=' });
    }
    out
}

fn percent(text: &str, is_upper: bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = match (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte), is_upper) {
            (true, _) => write!(out, "{}", char::from(byte)),
            (false, true) => write!(out, "%{byte:02X}"),
            (false, false) => write!(out, "%{byte:02x}"),
        };
        out
    })
}

/// Each way in which text can be written that somebody could read back.
fn forms(mark: &str) -> Vec<String> {
    let mut forms = vec![mark.to_owned(), mark.replace('/', "\\/"), percent(mark, true), percent(mark, false)];
    forms.push(mark.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")));
    // As Rust shows bytes.
    forms.push(mark.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "));
    // In the middle of a longer text that is base64, at each of the three places that it can have; without the digits that
    // what stands around it has a part in.
    for before in 0..3 {
        let encoded = base64(&[&b"xxx"[..before], mark.as_bytes()].concat());
        let first = [0, 2, 3][before];
        let whole = (before + mark.len()) * 8 / 6;
        let inner = encoded[first..whole].to_owned();
        forms.push(inner.replace('+', "-").replace('/', "_"));
        forms.push(inner);
    }
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn what_is_searched_for_would_be_found() {
    let text = "a chat/mark+9c b";
    for pad in 0..3 {
        let encoded = base64(format!("{}{text}", " ".repeat(pad)).as_bytes());
        assert!(forms(CHAT).iter().any(|form| encoded.contains(form)), "{encoded}");
    }
    for text in [text, "chat%2Fmark%2B9c", "chat%2fmark%2b9c", "chat\\/mark+9c", "99, 104, 97, 116, 47, 109"] {
        assert!(forms(CHAT).iter().any(|form| text.contains(form) || form.starts_with(text)), "{text}");
    }
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}

/// All that was written, by whom.
#[derive(Default)]
struct Written {
    all: Vec<(String, String)>,
    /// Where keys may be.
    with_keys: Vec<(String, String)>,
}

impl Written {
    fn add(&mut self, by: impl Into<String>, text: impl Into<String>) {
        self.all.push((by.into(), text.into()));
    }

    /// A command that prints, however it ends.
    fn command(&mut self, folder: &Path, args: &[&str]) {
        self.output(args, run(folder, args));
    }

    fn output(&mut self, args: &[&str], output: Output) {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // The reason of a decision names the entry of the team's own list, as the word-filter says it does.
        let entry = format!("words.txt:1, \"{WORD}\"");
        let out = out.replace(&entry, "").replace(&entry.replace('"', "\\\""), "");
        assert!(!out.is_empty() || !err.is_empty() || output.status.success(), "{args:?} ended without a word");
        self.add(format!("{args:?}, as an error"), err);
        match without_keys(&out) {
            Some(out) => self.add(format!("{args:?}"), out),
            // Rows for people have their keys in lines and columns; what is in them is what is in the JSON.
            None => self.with_keys.push((format!("{args:?}"), out)),
        }
    }

    /// Whatever is found where it should not be.
    fn leaks(&self, secrets: &[String]) -> Vec<String> {
        let mut leaks = Vec::new();
        for mark in secrets {
            let is_key = mark == USER || mark == GROUP;
            let with_keys = if is_key { &[][..] } else { &self.with_keys };
            for form in forms(mark) {
                for (by, text) in self.all.iter().chain(with_keys) {
                    if let Some(at) = text.find(&form) {
                        let around = &text[floor(text, at.saturating_sub(300))..floor(text, at + form.len() + 100)];
                        leaks.push(format!("{mark} in what {by:?} wrote: …{around}…"));
                    }
                }
            }
        }
        leaks
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What a command printed as JSON, without the keys of rows. `None` for what is no JSON.
fn without_keys(text: &str) -> Option<String> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.remove("key");
                members.values_mut().for_each(strip);
            }
            Value::Array(all) => all.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let stripped = values.map(|value| {
        value.map(|mut value| {
            strip(&mut value);
            value.to_string()
        })
    });
    stripped.collect::<Result<Vec<_>, _>>().ok().map(|all| all.join("\n"))
}

fn config(level: &str, format: &str, echo: &str) -> String {
    let webhook = base64(WEBHOOK_KEY.as_bytes());
    format!(
        r#"
[intake]
listen = "127.0.0.1:0"
body_limit = "20KiB"
strict_replay = false

[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["{TOKEN}", {{ file = "token.txt" }}]

[[apps]]
sdk_app_id = 1400000002
name = "other"
tokens = ["${{MARKED}}"]

[journal]
path = "journal.db"

[log]
level = "{level}"
format = "{format}"

[observe]
listen = "127.0.0.1:0"

[admin]
listen = "127.0.0.1:0"
tokens = ["{ADMIN_TOKEN}", {{ file = "admin-token.txt" }}]
hosts = ["localhost"]
audit = "audit.jsonl"

[handlers.words]
type = "word-filter"
commands = ["C2C.CallbackBeforeSendMsg"]
words_files = ["words.txt"]
emit = ["refused"]
sinks = ["archive"]

[handlers.masks]
type = "word-filter"
commands = ["Group.CallbackBeforeSendMsg"]
words_files = ["words.txt"]
action = "mask"

[handlers.broken]
type = "endpoint"
url = "http://{echo}/broken?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
commands = ["Group.CallbackBeforeApplyJoinGroup", "Sns.CallbackPrevFriendAdd"]
tencent_token = "{ENDPOINT_TOKEN}"
headers = {{ Authorization = "{HEADER}" }}

[handlers.nonsense]
type = "endpoint"
url = "http://{echo}/nonsense?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
commands = ["Group.CallbackBeforeInviteJoinGroup", "Group.CallbackAfterNewMemberJoin"]
tencent_token = "{ENDPOINT_TOKEN}"
attempts = 1

[handlers.refuses]
type = "endpoint"
url = "http://{echo}/refuses?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
commands = ["Group.CallbackAfterSendMsg"]
tencent_token = "{ENDPOINT_TOKEN}"
headers = {{ Authorization = "{HEADER}" }}

[handlers.panics]
type = "misbehaving"
control = "panics"
commands = ["Group.CallbackBeforeCreateGroup", "Group.CallbackAfterCreateGroup"]
decide = "panic-quoting"
behaviour = "panic-quoting"
attempts = 1
sinks = ["archive"]

[handlers.rewrites]
type = "misbehaving"
control = "rewrites"
commands = ["OfficialAccount.CallbackBeforeSendMsg"]
decide = "refuse"
phase = "before"

[handlers.attributes]
type = "group-attribute-changed"
sinks = ["archive"]

[handlers.everything]
type = "forward"
phase = "after"
sinks = ["archive", "relay", "raw", "moves"]

[sinks.archive]
type = "file"
path = "events.jsonl"

[sinks.relay]
type = "http"
url = "http://{echo}/refuses?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
headers = {{ Authorization = "{HEADER}" }}
webhook_secrets = ["whsec_{webhook}"]

[sinks.moves]
type = "http"
url = "http://{echo}/moves?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
headers = {{ X-Team = "{HEADER}" }}

[sinks.raw]
type = "http"
format = "raw"
url = "http://{echo}/closes?key={URL_KEY}"
allow_networks = ["127.0.0.0/8"]
tencent_token = "{SINK_TOKEN}"
"#
    )
}

/// A body of this command with marks in it, told apart from others.
fn body(command: &str, nth: u64, words: &str) -> String {
    let mut body: Value = serde_json::from_str(tencent_chat::command(command).unwrap().sample).unwrap();
    for (name, value) in body.as_object_mut().unwrap() {
        match name.as_str() {
            "GroupId" => *value = GROUP.into(),
            _ if name.ends_with("_Account") => *value = USER.into(),
            "Name" | "ApplyMsg" | "AddWording" => *value = words.into(),
            "EventTime" => *value = (1_767_000_000_000 + nth).into(),
            "MsgSeq" | "Random" => *value = nth.into(),
            "MsgBody" => *value = json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": words } }]),
            _ => {}
        }
    }
    body.to_string()
}

fn marked_query(command: &str, token: &str) -> String {
    query(command, token).replace("203.0.113.7", CLIENT_IP)
}

/// Callbacks of every road, and requests that are refused for every reason.
fn send_all(addr: &str, written: &mut Written) {
    let mut nth = 0;
    let mut send = |command: &str, words: &str, token: &str| {
        nth += 1;
        let target = format!("/callback?{}", marked_query(command, token));
        post(addr, &target, "", &body(command, nth, words))
    };
    let found = format!("say {WORD} {CHAT}");
    for (command, words) in [
        ("Group.CallbackAfterSendMsg", CHAT),
        ("Group.CallbackAfterNewMemberJoin", CHAT),
        ("Group.CallbackAfterGroupAttrChanged", CHAT),
        ("C2C.CallbackAfterSendMsg", CHAT),
        ("State.StateChange", CHAT),
        ("C2C.CallbackBeforeSendMsg", CHAT),
        ("C2C.CallbackBeforeSendMsg", &found),
        ("Group.CallbackBeforeApplyJoinGroup", CHAT),
        ("Sns.CallbackPrevFriendAdd", CHAT),
        ("Group.CallbackBeforeInviteJoinGroup", CHAT),
        ("Group.CallbackBeforeCreateGroup", CHAT),
        ("Group.CallbackAfterCreateGroup", CHAT),
    ] {
        for token in [TOKEN, TOKEN_IN_FILE] {
            let answer = send(command, words, token);
            assert!(answer.starts_with("HTTP/1.1 200"), "{command}: {answer}");
            written.add(format!("the answer to {command}"), answer);
        }
    }
    // What this shows is shown on purpose, to Tencent alone.
    assert!(
        send("Group.CallbackBeforeSendMsg", &found, TOKEN).contains(CHAT),
        "a rewritten message has the rest of it"
    );
    written.add("the answer to a refusal", send("OfficialAccount.CallbackBeforeSendMsg", CHAT, TOKEN));

    let after = "Group.CallbackAfterSendMsg";
    let (good, marked) = (marked_query(after, TOKEN), body(after, 1000, CHAT));
    let encoded = percent(CHAT, true);
    for (name, query, body, code) in [
        ("a wrong token", marked_query(after, CHAT), marked.clone(), 401_002),
        (
            "a wrong sign",
            format!("SdkAppid=1400000001&CallbackCommand={after}&Sign={SIGN}&RequestTime=1"),
            marked.clone(),
            401_002,
        ),
        ("no sign", format!("SdkAppid=1400000001&CallbackCommand={after}&x={encoded}"), marked.clone(), 401_001),
        (
            "an old sign",
            format!(
                "SdkAppid=1400000001&CallbackCommand={after}&RequestTime=7&Sign={}",
                tencent_chat::sign(TOKEN, "7")
            ),
            marked.clone(),
            401_003,
        ),
        (
            "a time in words",
            format!(
                "SdkAppid=1400000001&CallbackCommand={after}&RequestTime={encoded}&Sign={}",
                tencent_chat::sign(TOKEN, CHAT)
            ),
            marked.clone(),
            401_003,
        ),
        ("no app", format!("CallbackCommand={after}&x={encoded}"), marked.clone(), 403_001),
        ("another app", format!("SdkAppid={encoded}&CallbackCommand={after}"), marked.clone(), 403_002),
        ("a parameter twice", format!("{good}&ClientIP={encoded}"), marked.clone(), 400_001),
        ("an encoding that breaks off", format!("RequestID={encoded}%zz&{good}"), marked.clone(), 400_002),
        ("a query too long", format!("{good}&x={}", encoded.repeat(600)), marked.clone(), 414_001),
        ("a command of more than words", marked_query(&format!("{CHAT} {USER}"), TOKEN), marked.clone(), 400_004),
        ("no command", marked_query("", TOKEN), marked.clone(), 400_003),
        ("no JSON", good.clone(), format!("{{\"Text\":{CHAT}"), 400_006),
        ("no end", good.clone(), format!("{{\"Text\":\"{CHAT}"), 400_006),
        ("a key without a value", good.clone(), format!("{{\"{CHAT}\"}}"), 400_006),
        ("no object", good.clone(), format!("[\"{CHAT}\"]"), 400_007),
        (
            "a command twice",
            good.clone(),
            format!("{{\"CallbackCommand\":\"{after}\",\"CallbackCommand\":\"{CHAT}\"}}"),
            400_008,
        ),
        ("another command", good.clone(), format!("{{\"CallbackCommand\":\"{CHAT}\"}}"), 400_009),
        ("too deep", good.clone(), format!("{{\"{CHAT}\":{}1{}}}", "[".repeat(300), "]".repeat(300)), 400_011),
        ("too long", good.clone(), format!("{{\"Text\":\"{}\"}}", CHAT.repeat(4000)), 413_001),
    ] {
        let answer = post(addr, &format!("/callback?{query}"), "", &body);
        assert!(answer.contains(&format!("\"ErrorCode\":{code}")), "{name}: {answer}");
        written.add(format!("the answer to {name}"), answer);
    }
    for (name, bytes) in [
        (
            "another path",
            format!("POST /{encoded}?{good} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        ),
        (
            "another method",
            format!("GET /callback?{good}&x={encoded} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
        ),
        ("a broken header", format!("POST /callback?{good} HTTP/1.1\r\nhost: x\r\n{CHAT}\r\n\r\n")),
        ("no HTTP", format!("{CHAT} {TOKEN} {USER}\r\n\r\n")),
        (
            "broken chunks",
            format!("POST /callback?{good} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{CHAT}\r\n"),
        ),
        (
            "a trace of words",
            format!(
                "POST /callback?{good} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntraceparent: {CHAT}\r\nx-forwarded-for: {CLIENT_IP}\r\n\
             cookie: {SIGN}\r\ncontent-length: {}\r\n\r\n{marked}",
                marked.len()
            ),
        ),
    ] {
        written.add(format!("the answer to {name}"), exchange(addr, &bytes));
    }
}

/// Configurations that are wrong in every way in which the loader could quote a secret. What stands where no secret belongs, such
/// as a level, is quoted.
fn wrong_configurations(right: &str) -> Vec<(&'static str, String)> {
    let token = format!("tokens = [\"{TOKEN}\"");
    let replaced = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replace(from, to)
    };
    vec![
        ("a broken line with a secret", replaced(&token, &format!("tokens = [\"{TOKEN}\" \"{TOKEN}\""))),
        ("a secret without its end", replaced(&token, &format!("tokens = [\"{TOKEN}"))),
        ("a secret for a list", replaced(&token, &format!("tokens = \"{TOKEN}\"\nextra = [\"{TOKEN}\""))),
        ("a misspelt key with a secret", replaced("tencent_token =", "tencent_tokem =")),
        ("a key of secrets in a wrong place", replaced("[journal]", &format!("[journal]\ntoken = \"{TOKEN}\""))),
        (
            "a secret that is a table",
            replaced(&format!("\"{ENDPOINT_TOKEN}\""), &format!("{{ fil = \"{ENDPOINT_TOKEN}\" }}")),
        ),
        ("a secret in a file that is not there", replaced("token.txt", "no-such.txt")),
        ("a header with what no header can have", replaced(&format!("\"{HEADER}\""), &format!("\"{HEADER}\\n\""))),
        (
            "headers that are text",
            replaced(&format!("headers = {{ X-Team = \"{HEADER}\" }}"), &format!("headers = \"{HEADER}\"")),
        ),
        ("a webhook secret that is none", replaced("whsec_", TOKEN)),
        ("a URL with a password", replaced("http://127", &format!("http://user:{TOKEN_IN_FILE}@127"))),
        ("a URL that is none", replaced("/moves?key=", ":/moves?key=").replace("http://", "http//")),
        ("a proxy that is none", replaced("[sinks.moves]", &format!("[sinks.moves]\nproxy = \"{TOKEN}\""))),
        ("an unknown type", replaced("type = \"file\"", &format!("type = \"fil\"\ntoken = \"{TOKEN}\""))),
        (
            "a token of the control room that is too short",
            replaced(&format!("\"{ADMIN_TOKEN}\""), &format!("\"{ENDPOINT_TOKEN}\"")),
        ),
        (
            "a misspelt key of tokens",
            replaced(&format!("tokens = [\"{ADMIN_TOKEN}\""), &format!("tokes = [\"{ADMIN_TOKEN}\"")),
        ),
        (
            "a certificate's key of the control room that does not fit",
            replaced("[admin]", "[admin]\ntls = { cert = \"cert.pem\", key = \"other.pem\" }"),
        ),
        (
            "a certificate's key of the control room that is none",
            replaced("[admin]", "[admin]\ntls = { cert = \"cert.pem\", key = \"broken.pem\" }"),
        ),
        (
            "a certificate's key that does not fit",
            replaced("[intake]", "[intake]\ntls = { cert = \"cert.pem\", key = \"other.pem\" }"),
        ),
        (
            "a certificate's key that is none",
            replaced("[intake]", "[intake]\ntls = { cert = \"cert.pem\", key = \"broken.pem\" }"),
        ),
    ]
}

/// A line of the key that only who reads the file can know.
fn certificates(folder: &Path) -> Vec<String> {
    let [key, other] = [(), ()].map(|()| rcgen::KeyPair::generate().unwrap());
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    fs::write(folder.join("other.pem"), other.serialize_pem()).unwrap();
    let broken = other.serialize_pem().replace("-----END", "!!!!END");
    fs::write(folder.join("broken.pem"), broken).unwrap();
    // The second line: the first is the same for all keys of a kind.
    [key, other].map(|key| key.serialize_pem().lines().nth(2).unwrap().to_owned()).to_vec()
}

/// Every command that prints something and is not asked for contents.
fn ask_everything(folder: &Path, written: &mut Written) {
    let dead: Vec<String> = dead(folder).iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    let with_id = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
    let mut all: Vec<Vec<String>> = [
        &["status"][..],
        &["handlers", "list"],
        &["sinks", "list"],
        &["consumers", "list"],
        &["callbacks"],
        &["callbacks", "--text", "mark"],
        &["callbacks", "--decision", "refused"],
        &["callbacks", "--decision", "rewritten"],
        &["callbacks", "--shadow-diff"],
        &["events"],
        &["dead-letters", "list"],
        &["replay", "list"],
        &["journal", "status"],
        &["journal", "check"],
        &["config"],
        &["schema"],
        &["plugins"],
        &["commands"],
        &["check"],
        &["backtest", "--handler", "words"],
        &["backtest", "--handler", "masks"],
        &["reload"],
    ]
    .iter()
    .map(|args| with_id(args))
    .collect();
    all.extend((1..40).map(|seq| with_id(&["show", &format!("callbacks/{seq}")])));
    all.extend((1..20).map(|seq| with_id(&["show", &format!("events/{seq}")])));
    all.extend(dead.iter().map(|id| with_id(&["dead-letters", "show", id])));
    all.extend(dead.iter().map(|id| with_id(&["show", id])));
    for args in all {
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        written.command(folder, &args);
        args.push("--json");
        written.command(folder, &args);
    }
}

/// Requests at `[admin] listen` that are refused for every reason, and what they are told.
fn ask_in_vain(addr: &str, written: &mut Written) {
    let (status, marked) = ("{\"version\":1,\"request\":\"status\"}", percent(CHAT, true));
    let post = |token: &str, headers: &str, body: &str| {
        let n = body.len();
        format!(
            "POST /control HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {token}\r\n{headers}content-length: {n}\r\n\r\n{body}"
        )
    };
    for (name, request, code) in [
        ("a wrong token", post(WRONG_ADMIN_TOKEN, "", status), "401"),
        ("a token in another way", post(ADMIN_TOKEN, "", status).replace("Bearer", "Basic"), "401"),
        ("another name", post(ADMIN_TOKEN, "", status).replace(addr, &format!("{WRONG_ADMIN_TOKEN}.example")), "403"),
        ("a page", post(ADMIN_TOKEN, &format!("origin: http://{marked}.example\r\n"), status), "403"),
        ("another path", post(ADMIN_TOKEN, "", status).replace("/control", &format!("/{marked}")), "404"),
        ("another method", post(ADMIN_TOKEN, "", status).replace("POST", "PUT"), "405"),
        ("no JSON", post(ADMIN_TOKEN, "", CHAT), "400"),
        ("a broken header", post(ADMIN_TOKEN, &format!("{CHAT}\r\n"), status), "400"),
        ("no HTTP", format!("{CHAT} {ADMIN_TOKEN}\r\n\r\n"), "400"),
    ] {
        let answer = exchange(addr, &request);
        assert!(answer.split(' ').nth(1) == Some(code), "{name}: {answer}");
        written.add(format!("the answer at [admin] to {name}"), answer);
    }
    // Who has the token is told what is wrong with the request, in its own words; nobody else is.
    let answer = exchange(addr, &post(ADMIN_TOKEN, "", &format!("{{\"version\":1,\"request\":{{\"{CHAT}\":1}}}}")));
    assert!(answer.contains("this is no request"), "{answer}");
}

/// Commands that ask over the network, with a right token and with a wrong one.
fn ask_from_elsewhere(folder: &Path, url: &str, written: &mut Written) {
    let commands: [&[&str]; 12] = [
        &["status"],
        &["handlers", "list"],
        &["sinks", "list"],
        &["consumers", "list"],
        &["callbacks"],
        &["callbacks", "--text", CHAT],
        &["events"],
        &["dead-letters", "list"],
        &["show", "callbacks/1"],
        &["journal", "status"],
        &["reload"],
        &["sinks", "pause", "nobody"],
    ];
    for (token, is_right) in [(ADMIN_TOKEN, true), (ADMIN_TOKEN_IN_FILE, true), (WRONG_ADMIN_TOKEN, false), ("", false)]
    {
        let environment = [("DISPATCHER_ADMIN_TOKEN", token), ("DISPATCHER_ADMIN_CA", "cert.pem")];
        // One is enough for a token that opens nothing; it waits a second for each.
        for args in commands.iter().take(if is_right { commands.len() } else { 1 }) {
            for json in [&[][..], &["--json"]] {
                let args = [args, &["--admin", url][..], json].concat();
                let output = run_with(folder, &args, &environment);
                assert!(is_right || output.status.code() == Some(1), "{args:?}: {output:?}");
                written.output(&args, output);
            }
        }
    }
    // What it shows is asked for; what is on record of that is not to show it again.
    let environment = [("DISPATCHER_ADMIN_TOKEN", ADMIN_TOKEN), ("DISPATCHER_ADMIN_CA", "cert.pem")];
    let shown = run_with(folder, &["callbacks", "--contents", "--text", CHAT, "--admin", url], &environment);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(CHAT), "{shown:?}");
    // A token has no place in a URL.
    let wrong = url.replace("://", &format!("://{}@", percent(ADMIN_TOKEN, true)));
    for url in [wrong.as_str(), &format!("{url}?token={}", percent(ADMIN_TOKEN, true))] {
        written
            .output(&["status", "--admin", "(a token)"], run_with(folder, &["status", "--admin", url], &environment));
    }
}

fn dead(folder: &Path) -> Vec<Value> {
    let output = run(folder, &["dead-letters", "list", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let rows = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    rows.filter(|row| row.get("id").is_some()).collect()
}

fn get(addr: &str, path: &str) -> String {
    exchange(addr, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

/// What the dispatcher made is for its own user alone.
fn check_modes(folder: &Path, not_its_own: &[&str]) {
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if not_its_own.contains(&&*name) {
            continue;
        }
        let meta = entry.metadata().unwrap();
        assert!(meta.is_file() || meta.file_type().is_socket(), "{name}");
        assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        seen.push(name);
    }
    for name in [
        "journal.db",
        "journal.db-wal",
        "journal.db-shm",
        "journal.db.lock",
        "events.jsonl",
        "backup.db",
        "audit.jsonl",
    ] {
        assert!(seen.iter().any(|one| one == name), "{name} is not among {seen:?}");
    }
    assert!(seen.iter().any(|name| name.contains("sock")), "{seen:?}");
}

fn search(level: &str, format: &str) {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (echo, mut written) = (Echo::start(), Written::default());
    let mut secrets = certificates(folder);
    fs::write(folder.join("token.txt"), TOKEN_IN_FILE).unwrap();
    fs::write(folder.join("admin-token.txt"), ADMIN_TOKEN_IN_FILE).unwrap();
    fs::write(folder.join("words.txt"), format!("{WORD}\n")).unwrap();
    let right = config(level, format, &echo.addr);
    let path = folder.join("dispatcher.toml");
    let given = [
        "dispatcher.toml",
        "token.txt",
        "admin-token.txt",
        "words.txt",
        "cert.pem",
        "key.pem",
        "other.pem",
        "broken.pem",
    ];
    let admin = || {
        let status: Value = serde_json::from_slice(&run(folder, &["status", "--json"]).stdout).unwrap();
        status["running"]["admin"].as_str().unwrap().to_owned()
    };
    let program = program();
    let start = |name| Running::start(&program, folder, name, &[("MARKED", TOKEN_IN_ENV)]);

    // A start that fails.
    for (name, wrong) in wrong_configurations(&right) {
        fs::write(&path, &wrong).unwrap();
        for args in [&["run"][..], &["check"], &["config"], &["config", "--json"], &["status", "--json"]] {
            let output = run(folder, args);
            assert_ne!(output.status.code(), Some(0), "{args:?} takes {name}");
            let said = [output.stdout, output.stderr].concat();
            written.add(format!("{args:?} of {name}"), String::from_utf8_lossy(&said));
        }
    }
    fs::write(&path, &right).unwrap();
    let running = start("first");
    send_all(&running.addr, &mut written);
    let n_dead = |n: usize| eventually("dead letters", || Some(dead(folder).len()).filter(|&found| found >= n));
    // The endpoint and the sink that refuse, the handler that panics.
    n_dead(9);
    let observe = running.said().split_once("/metrics").unwrap().0.rsplit_once("http://").unwrap().1.to_owned();
    let look = |written: &mut Written| {
        for path in ["/metrics", "/healthz", "/readyz", "/readyz?need=durable", &format!("/{}", percent(CHAT, true))] {
            written.add(format!("GET {path}"), get(&observe, path));
        }
    };
    look(&mut written);
    ask_everything(folder, &mut written);
    ask_in_vain(&admin(), &mut written);
    ask_from_elsewhere(folder, &format!("http://{}", admin()), &mut written);
    // A configuration that is wrong while it runs.
    for (name, wrong) in wrong_configurations(&right) {
        fs::write(&path, &wrong).unwrap();
        let right = folder.join("right.toml");
        fs::write(&right, config(level, format, &echo.addr)).unwrap();
        let output = run(folder, &["reload", "--json", "--config", "right.toml"]);
        assert_ne!(output.status.code(), Some(0), "a reload takes {name}");
        let said = [output.stdout, output.stderr].concat();
        written.add(format!("reload of {name}"), String::from_utf8_lossy(&said));
        fs::remove_file(right).unwrap();
    }
    fs::write(&path, &right).unwrap();
    written.command(folder, &["journal", "backup", "backup.db", "--json"]);
    let words = ["first.out.txt", "first.err.txt", "second.out.txt", "second.err.txt"];
    check_modes(folder, &[&given[..], &words].concat());
    // All is well, and what was given up on is delivered.
    echo.is_well.store(true, Relaxed);
    for who in [["--sink", "relay"], ["--handler", "refuses"]] {
        written.command(folder, &[&["replay", "--dead", "--json"], &who[..]].concat());
    }
    written.command(folder, &["replay", "--handler", "panics", "--dead"]);
    look(&mut written);
    written.add("the first run", running.terminate());
    written.command(folder, &["status", "--json"]);
    let running = start("second");
    send_all(&running.addr, &mut Written::default());
    // TLS from now on: what speaks plain HTTP is told nothing.
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }";
    let with_tls =
        right.replace("[intake]", &format!("[intake]\n{tls}")).replace("[admin]", &format!("[admin]\n{tls}"));
    fs::write(&path, with_tls).unwrap();
    written.command(folder, &["reload", "--json"]);
    written.add("the answer at [admin] without TLS", exchange(&admin(), &format!("{ADMIN_TOKEN} {CHAT}\r\n\r\n")));
    let port = admin().rsplit_once(':').unwrap().1.to_owned();
    ask_from_elsewhere(folder, &format!("https://localhost:{port}"), &mut written);
    written
        .add("the answer without TLS", exchange(&running.addr, &format!("POST /callback?x={CHAT} HTTP/1.1\r\n\r\n")));
    ask_everything(folder, &mut written);
    written.add("the second run", running.terminate());
    let audit = fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    for part in ["\"authenticate\"", "\"findings\":[", "\"text\":\"(not written down)\"", "\"via\":\"tcp\""] {
        assert!(audit.contains(part), "{part} is not in:\n{audit}");
    }
    written.add("the audit log", audit);

    let log = &written.all.iter().find(|(by, _)| by == "the first run").unwrap().1;
    for line in ["a panic; words", "request ended"] {
        assert!(log.contains(line), "{line} is not in:\n{log}");
    }
    let marks = [
        TOKEN,
        TOKEN_IN_FILE,
        TOKEN_IN_ENV,
        ENDPOINT_TOKEN,
        SINK_TOKEN,
        HEADER,
        URL_KEY,
        WEBHOOK_KEY,
        ADMIN_TOKEN,
        ADMIN_TOKEN_IN_FILE,
        WRONG_ADMIN_TOKEN,
        CHAT,
        WORD,
        CLIENT_IP,
        SIGN,
        USER,
        GROUP,
    ];
    secrets.extend(marks.map(str::to_owned));
    let leaks = written.leaks(&secrets);
    assert!(leaks.is_empty(), "{} leaks\n{}", leaks.len(), leaks[..leaks.len().min(20)].join("\n\n"));
}

#[test]
fn nothing_marked_is_in_what_is_written_for_people() {
    search("trace", "human");
}

#[test]
fn nothing_marked_is_in_what_is_written_for_machines() {
    search("debug", "json");
}
