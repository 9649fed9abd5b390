//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    command::{
        backtest::Backtest,
        consumers::{Consumers, Sinks},
        dead_letters::DeadLetters,
        handlers::Handlers,
        journal::Journal,
        list::{Callbacks, Events},
        reload::{LogLevel, Reload},
        replay::Replay,
        show::Show,
        status::Status,
        test::Test,
    },
    decode::Decode,
    effective::ShowConfig,
};

/// Takes Tencent Cloud Chat callbacks, makes them durable, and delivers what handlers make of them.
#[derive(Debug, Parser)]
#[command(
    name = "dispatcher",
    version,
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "Environment: DISPATCHER_CONFIG: the configuration, where --config names none; DISPATCHER_ADMIN_URL and \
                  DISPATCHER_ADMIN_TOKEN: the dispatcher that is asked and steered, at its [admin] listen, instead of the \
                  one of --config; DISPATCHER_ADMIN_CA: the file with the certificates that are trusted there.\n\n\
                  Exit codes: 0 done; 1 failed; 2 wrong usage; 78 the configuration is wrong."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The configuration
    #[arg(
        long,
        value_name = "FILE",
        env = "DISPATCHER_CONFIG",
        hide_env_values = true,
        default_value = "dispatcher.toml"
    )]
    pub(crate) config: PathBuf,
}

/// Whom a command asks.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Ask the dispatcher at this URL, where its [admin] listen is, and not the one of --config
    ///
    /// The variable DISPATCHER_ADMIN_URL says the same. A token that opens it is taken from DISPATCHER_ADMIN_TOKEN.
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// Certificates to trust there in place of the system's, as PEM: of the authority that issued its own, or its own
    ///
    /// The variable DISPATCHER_ADMIN_CA says the same.
    #[arg(long, value_name = "FILE", conflicts_with = "journal")]
    pub(crate) ca: Option<PathBuf>,
    /// Ask the dispatcher that has this journal open, or read the journal itself, whatever --config says of it
    ///
    /// A dispatcher that runs keeps the journal that it was started with, and is found by it: where journal.path is another by
    /// now, or the file cannot be read here, this says where it is.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub(crate) journal: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the dispatcher until SIGINT or SIGTERM [the default]
    Run(ConfigFile),
    /// Check the configuration, every key of it, and do nothing else
    ///
    /// Exits with 0, or with 78 and a line per error: file, line, key, what is wrong and what to write.
    Check(ConfigFile),
    /// Show the configuration that is in force, with where each value comes from, and without secrets
    Config(ShowConfig),
    /// Run configuration tests: callbacks in, replies and events out, without sockets and without the disk
    Test(Test),
    /// List the handlers and sinks in this program, with their settings
    Plugins(Listing),
    /// List the commands of the catalogue: phase, reply, key, and what tells two happenings apart
    Commands(Listing),
    /// Print the JSON Schema of the configuration, with every plugin in this program, for editors
    Schema(Schema),
    /// Print the script that completes the command line in a shell
    Completions(Completions),
    /// Print the manual page of the program, or write all pages into a folder
    Man(Manual),
    /// Send a callback to a running dispatcher, signed as Tencent signs it
    Send(Send),
    /// Decode bodies, and say what is not known in them and what is not there
    Decode(Decode),
    /// Show how the dispatcher, its journal, its handlers and its sinks are
    Status(Status),
    /// List and search callbacks
    Callbacks(Callbacks),
    /// List and search events
    Events(Events),
    /// Show all that is known of a callback, an event or a dead letter, in order of time
    Show(Show),
    /// List, show, replay and discard what was given up on
    DeadLetters(DeadLetters),
    /// Deliver or handle again what the journal has
    Replay(Replay),
    /// List handlers, and try one that decides as a shadow
    Handlers(Handlers),
    /// Ask a handler what it would have decided about callbacks that are in the journal
    Backtest(Backtest),
    /// List, pause and resume sinks
    Sinks(Sinks),
    /// List, rename and drop what the journal keeps a place for
    Consumers(Consumers),
    /// Have the dispatcher that runs read its configuration again
    ///
    /// It is checked whole first; one that is wrong changes nothing, and exits with 78 and a line per error.
    Reload(Reload),
    /// Have the dispatcher that runs write its log from another level on, until it is started again
    LogLevel(LogLevel),
    /// Check, copy and compact the journal
    Journal(Journal),
}

#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Print a reference of all settings for people, in Markdown, instead
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Write the pages of the program and of all its commands into this folder, which is made if it is missing
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

/// Where to, as which app and with which token is taken from the configuration unless it is given.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The command, such as Group.CallbackAfterGroupAttrChanged; `dispatcher commands` lists them
    pub(crate) command: String,
    /// The body: a file, or `-` for standard input [default: a built-in sample with the time of now]
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// The callback URL [default: the configuration's listen and path]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Certificates to trust in place of the system's, as PEM: of the authority that issued the intake's, or the intake's own
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The SDKAppID, or the name of an app in the configuration [default: its first app]
    #[arg(long)]
    pub(crate) app: Option<String>,
    /// The token to sign with; empty for no signature [default: the app's first token in the configuration]
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// How many callbacks to send, each a new one
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u64,
    /// How often to send each again, unchanged, as Tencent's retries do
    #[arg(long, default_value_t = 0)]
    pub(crate) repeat: u64,
    #[command(flatten)]
    pub(crate) config: ConfigFile,
}
