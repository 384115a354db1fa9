//! A machine with scripted cards, for tests of the program.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_vramkit").into()
}

fn stand_in() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    folder.join("libvramkit_standin.so")
}

/// A machine with these cards, in a folder of its own.
pub struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub fn new(script: &Value) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        machine.becomes(script);
        machine
    }

    pub fn becomes(&self, script: &Value) {
        // In one step: the program reads it at any time.
        let (written, path) = (self.path("cards.new"), self.path("cards.json"));
        std::fs::write(&written, script.to_string()).unwrap();
        std::fs::rename(written, path).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("VRAMKIT_NVML", stand_in()),
            ("VRAMKIT_STANDIN_NVML", self.path("cards.json")),
            ("VRAMKIT_RUNTIME_DIR", self.path("pools")),
        ]
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).envs(self.environment()).env("NO_COLOR", "1").env_remove("RUST_LOG");
        command
    }
}
