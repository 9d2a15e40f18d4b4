//! The commands of `muster file`.
//!
//! A trailing slash means a folder everywhere, and a container alone means all of it; the commands themselves hold that.

use std::path::PathBuf;

use clap::Subcommand;

use super::StoreName;

/// The commands on the file store.
#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    /// Upload files and folders into a container
    #[command(after_help = "\
Examples:
  muster file put scene.pov boat.inc scene            # to scene/scene.pov and scene/boat.inc
  muster file put textures scene/tex/                 # the folder's content, below scene/tex/
  muster file put scene.pov scene/main.pov            # under another name

A container is there as soon as it has a file. Content that the store has already is not sent again.")]
    Put {
        /// Files and folders here
        #[arg(required = true, value_name = "PATH")]
        sources: Vec<PathBuf>,
        /// Where they go
        #[arg(value_name = "CONTAINER[/PATH]")]
        dest: StoreName,
    },
    /// Download a file, a folder or a container
    #[command(after_help = "\
Examples:
  muster file get film/film.mp4                       # to ./film.mp4
  muster file get film/film.mp4 out.mp4
  muster file get film/frames/ frames                 # all below film/frames/, into ./frames
  muster file get film here                           # the whole container")]
    Get {
        /// The file; with a trailing slash, or without a path, all files below
        #[arg(value_name = "CONTAINER[/PATH]")]
        source: StoreName,
        /// Where it goes: a file name, or for several files a folder
        dest: Option<PathBuf>,
    },
    /// List containers, or the files of one
    #[command(after_help = "Examples:\n  muster file list\n  muster file list film/frames/")]
    List {
        /// The container, or the start of paths in it
        #[arg(value_name = "CONTAINER[/PREFIX]")]
        name: Option<StoreName>,
    },
    /// Delete files, folders or a container
    #[command(after_help = "\
Examples:
  muster file rm film/film.mp4
  muster file rm --recursive film/frames/
  muster file rm --recursive film")]
    Rm {
        /// What to delete
        #[arg(required = true, value_name = "CONTAINER[/PATH]")]
        names: Vec<StoreName>,
        /// Delete all files below a folder, or a whole container
        #[arg(long, short)]
        recursive: bool,
    },
}
