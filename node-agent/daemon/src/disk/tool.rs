//! Runs the distribution's programs for file systems and quotas: no shell, a clean environment, words from their errors.
//!
//! Arguments are paths below the node's root and numbers, never a user's text. It blocks for as long as the program takes.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Where programs of the system are; the caller's PATH is not asked, because these run as root.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// How much of what a program says about its failure is told, in bytes.
const WORDS_MAX: usize = 400;

/// Why a program has not done its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("the program {program} is not installed (package {package})")]
    Missing { program: &'static str, package: &'static str },
    #[error("cannot run {program}")]
    Run {
        program: &'static str,
        #[source]
        cause: io::Error,
    },
    #[error("{program} failed ({status}): {words}")]
    Failed { program: &'static str, status: ExitStatus, words: String },
}

/// A program of the system.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    program: &'static str,
    path: PathBuf,
}

impl Tool {
    /// Finds a program; `package` is where it comes from, for the words of an error.
    pub(super) fn find(program: &'static str, package: &'static str) -> Result<Self, ToolError> {
        let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(program));
        let path = paths.into_iter().find(|path| path.is_file());
        path.map(|path| Self { program, path }).ok_or(ToolError::Missing { program, package })
    }

    /// Runs it to its end; answers what it said.
    pub(super) fn run(&self, arguments: &[&OsStr]) -> Result<String, ToolError> {
        let program = self.program;
        let output = Command::new(&self.path)
            .args(arguments)
            .env_clear()
            .env("PATH", FOLDERS.join(":"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| ToolError::Run { program, cause })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let words: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let words = words.chars().take(WORDS_MAX).collect();
            return Err(ToolError::Failed { program, status: output.status, words });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_told_with_its_own_words() {
        let tool = Tool::find("ls", "coreutils").unwrap();
        assert!(tool.run(&["/".as_ref()]).unwrap().contains("usr"));
        let error = tool.run(&["/no such place".as_ref()]).unwrap_err().to_string();
        assert!(error.contains("ls failed") && error.contains("no such place"), "{error}");
        let missing = Tool::find("no-such-program", "nowhere").unwrap_err().to_string();
        assert!(missing.contains("package nowhere"), "{missing}");
    }
}
