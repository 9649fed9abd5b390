//! A whole dispatcher inside the test's own process.

use std::path::{Path, PathBuf};

use dispatcher::{Dispatcher, Plugins};
use dispatcher_config::Config;
use tempfile::TempDir;

use crate::Tencent;

/// The app of every test dispatcher.
const SDK_APP_ID: u64 = 1_400_000_001;
const TOKEN: &str = "testkit-token";

/// A dispatcher on a free port, with a journal of its own in a folder of its own. The plugins that are linked into the
/// test are all there.
pub struct TestDispatcher {
    dispatcher: Dispatcher,
    folder: TempDir,
    sections: String,
}

impl TestDispatcher {
    /// Starts one with these sections, such as `[handlers.…]` and `[sinks.…]`; `{folder}` in them stands for its folder.
    ///
    /// # Panics
    /// When it does not start, with everything that is wrong.
    pub fn start(sections: &str) -> TestDispatcher {
        let folder = TempDir::new().expect("the system has a folder for temporary files");
        let dispatcher = start(folder.path(), sections);
        TestDispatcher { dispatcher, folder, sections: sections.to_owned() }
    }

    /// Stops it, finishing what is under way, and starts it again on the same journal.
    ///
    /// # Panics
    /// When it does not stop in time, or does not start.
    pub async fn restart(self) -> TestDispatcher {
        assert!(self.dispatcher.drain().await, "the dispatcher did not finish in time");
        let dispatcher = start(self.folder.path(), &self.sections);
        TestDispatcher { dispatcher, ..self }
    }

    /// Stops it, finishing what is under way.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub async fn stop(self) {
        assert!(self.dispatcher.drain().await, "the dispatcher did not finish in time");
    }

    /// The sending side: signed callbacks to this dispatcher.
    #[must_use]
    pub fn tencent(&self) -> Tencent {
        Tencent::new(&format!("http://{}/callback", self.dispatcher.local_addr()), SDK_APP_ID, Some(TOKEN))
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The dispatcher itself.
    #[must_use]
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }
}

fn start(folder: &Path, sections: &str) -> Dispatcher {
    let folder = folder.display();
    let text = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = {SDK_APP_ID}\nname = \"main\"\ntokens = \
         [\"{TOKEN}\"]\n\n[journal]\npath = \"{folder}/journal.db\"\n\n{}",
        sections.replace("{folder}", &folder.to_string())
    );
    let registry = dispatcher::registry(Plugins::default()).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let config =
        Config::parse("test.toml", &text, &registry, &|_| None).unwrap_or_else(|err| panic!("{err}\nin:\n{text}"));
    Dispatcher::start(config).unwrap_or_else(|err| panic!("{err}"))
}
