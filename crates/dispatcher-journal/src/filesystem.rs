//! What the journal's folder lies on, and whether SQLite's locks, its shared memory and a sync mean there what they have to.

/// What is to be said of a kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Nothing.
    Fine,
    /// It keeps its promises, but for a shorter time than people expect: why.
    Doubtful(&'static str),
    /// It is not for a journal: its name.
    Refused(&'static str),
}

/// Judges by the magic number that statfs(2) tells.
pub(crate) fn judge(magic: u32) -> Ground {
    match magic {
        0x6969 => Ground::Refused("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Ground::Refused("CIFS or SMB"),
        0x6573_5546 => Ground::Refused("FUSE"),
        0x0102_1997 => Ground::Refused("9P"),
        0x00c3_6400 => Ground::Refused("Ceph"),
        0x0bd0_0bd0 => Ground::Refused("Lustre"),
        0x5346_414f | 0x6b41_4653 => Ground::Refused("AFS"),
        0x794c_7630 => Ground::Doubtful(
            "it lies on overlayfs, as a container's own file system does, and goes with the container; put the journal on a \
             volume",
        ),
        0x0102_1994 | 0x8584_58f6 => {
            Ground::Doubtful("it lies in memory, and a restart of the machine loses it; put the journal on a disk")
        }
        _ => Ground::Fine,
    }
}

/// What this folder lies on. Where the system does not tell, nothing is said.
#[cfg(target_os = "linux")]
pub(crate) fn ground(folder: &std::path::Path) -> Ground {
    // The type of the field differs between machines, the 32 bits of the number do not.
    rustix::fs::statfs(folder).map_or(Ground::Fine, |stat| judge(stat.f_type as u32))
}

/// What this folder lies on: not known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ground(_: &std::path::Path) -> Ground {
    Ground::Fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_refused_by_their_magic_numbers() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS or SMB"),
            (0xfe53_4d42, "CIFS or SMB"),
            (0x517b, "CIFS or SMB"),
            (0x6573_5546, "FUSE"),
            (0x0102_1997, "9P"),
            (0x00c3_6400, "Ceph"),
        ] {
            assert_eq!(judge(magic), Ground::Refused(name), "{magic:#x}");
        }
    }

    #[test]
    fn disks_of_this_machine_are_fine_and_what_does_not_last_is_told() {
        // ext4, xfs, btrfs, zfs, f2fs.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0xf2f5_2010] {
            assert_eq!(judge(magic), Ground::Fine, "{magic:#x}");
        }
        for magic in [0x794c_7630, 0x0102_1994] {
            assert!(matches!(judge(magic), Ground::Doubtful(_)), "{magic:#x}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_is_asked() {
        use std::path::Path;
        // Two that any Linux has, of which one is no disk.
        assert_eq!(rustix::fs::statfs("/proc").map(|stat| stat.f_type as u32), Ok(0x9fa0));
        assert_eq!(ground(Path::new("/proc")), Ground::Fine);
        if rustix::fs::statfs("/dev/shm").is_ok_and(|stat| stat.f_type as u32 == 0x0102_1994) {
            assert!(matches!(ground(Path::new("/dev/shm")), Ground::Doubtful(_)));
        }
        assert_eq!(ground(Path::new("/there/is/no/such/folder")), Ground::Fine);
    }
}
