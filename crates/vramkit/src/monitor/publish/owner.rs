//! Whose a folder is: a user's number, and what is really that user's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user's number as a name says it.
pub(super) fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

pub(super) fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether a folder is a real one of this user's.
pub(super) fn is_own(folder: &Path) -> bool {
    is_of(folder, user())
}

/// Whether a folder is a real one of a user's: not what only points to one, nor what somebody else made under a user's number.
pub(super) fn is_of(folder: &Path, user: u32) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn own_is_a_real_folder_of_this_users() {
        let own = std::env::temp_dir().join(format!("vramkit-own-{}", std::process::id()));
        fs::create_dir_all(&own).expect("a folder");
        let file = own.join("file");
        fs::write(&file, "").expect("a file");
        let link = own.join("link");
        std::os::unix::fs::symlink(&own, &link).expect("a link");
        assert!(is_own(&own) && !is_own(&file) && !is_own(&link) && !is_own(&own.join("none")));
        assert_eq!(user(), fs::metadata(&own).expect("it is there").uid());
        fs::remove_dir_all(own).expect("it is there");
    }
}
