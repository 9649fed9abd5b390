//! The socket's file: nobody but its owner can connect at any time, and what a crash left is replaced.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::{audit::Actor, socket_path};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 16;

/// A socket that listens. Its file is removed when this is dropped.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens beside the journal. Whoever calls this holds the journal's lock: a file that is there is nobody's any more.
    pub(crate) fn bind(journal: &Path) -> io::Result<Socket> {
        let path = socket_path(journal);
        let mut made = path.clone().into_os_string();
        made.push(".new");
        let made = PathBuf::from(made);
        match fs::remove_file(&made) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&made)?)?;
        let listener = Socket::open(socket, &made, &path);
        if listener.is_err() {
            let _ = fs::remove_file(&made);
        }
        Ok(Socket { listener: listener?, path })
    }

    /// Before it listens nobody can connect, and from then on only who may open the file.
    fn open(socket: OwnedFd, made: &Path, path: &Path) -> io::Result<UnixListener> {
        fs::set_permissions(made, fs::Permissions::from_mode(0o600))?;
        rustix::net::listen(&socket, BACKLOG)?;
        fs::rename(made, path)?;
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Should it stay, the next dispatcher replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The process at the other end, if it is ours, or root's.
pub(crate) fn peer(stream: &UnixStream) -> Option<Actor> {
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd()).ok()?;
    let is_trusted = peer.uid == rustix::process::geteuid() || peer.uid.is_root();
    is_trusted.then(|| Actor::Socket { uid: peer.uid.as_raw(), pid: peer.pid.as_raw_nonzero().get() })
}
