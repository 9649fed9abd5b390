//! Which file a path means, without asking for memory.

use std::ffi::{CStr, c_char};

/// A path relative to the folder; empty for the folder itself.
pub(crate) struct Relative {
    bytes: [u8; LEN],
    len: usize,
}

const LEN: usize = 512;

impl Relative {
    /// The path that C gave, if it is the folder or lies below it. `None` too for paths that are longer than any here.
    ///
    /// # Safety
    /// `path` must be a C string.
    pub(crate) unsafe fn new(path: *const c_char, folder: &[u8], working: &[u8]) -> Option<Relative> {
        if path.is_null() || folder.is_empty() {
            return None;
        }
        // SAFETY: the caller's promise.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        let mut absolute = [0; 2 * LEN];
        let mut len = 0;
        let base = if path.first() == Some(&b'/') { &[][..] } else { working };
        for part in base.split(|&byte| byte == b'/').chain(path.split(|&byte| byte == b'/')) {
            if part.is_empty() || part == b"." {
                continue;
            }
            absolute.get_mut(len)?.clone_from(&b'/');
            absolute.get_mut(len + 1..len + 1 + part.len())?.copy_from_slice(part);
            len += 1 + part.len();
        }
        let rest = absolute[..len].strip_prefix(folder)?;
        let rest = match rest.first() {
            None => rest,
            Some(b'/') => &rest[1..],
            Some(_) => return None,
        };
        let mut bytes = [0; LEN];
        bytes.get_mut(..rest.len())?.copy_from_slice(rest);
        Some(Relative { bytes, len: rest.len() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
