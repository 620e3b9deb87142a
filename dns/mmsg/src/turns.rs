//! Short turns on a core.
//!
//! Linux lets a thread that runs go on for its turn, some milliseconds, before one that has just been woken. For threads
//! that answer in microseconds that is long: they would wait behind whatever this or another process computes. A thread that
//! asks for shorter turns for itself goes first when it wakes, and has no larger share of the core for it (Linux 6.12;
//! `sched_setattr(2)`). It needs no privilege, unlike a higher priority. Lower priorities of other threads do not help:
//! they have to do with shares.

use std::{io, mem};

/// The shortest turn that Linux gives, nanoseconds.
const TURN: u64 = 100_000;

/// Asks for short turns for this thread. Systems that do not know them leave everything as it is.
///
/// # Errors
/// When the calls are forbidden.
pub fn take_short_turns() -> io::Result<()> {
    let mut attributes = attributes()?;
    // Under another policy the field means something else, and somebody has chosen.
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = TURN;
    // SAFETY: 0 is this thread; the kernel reads `size` bytes, which the value has, and keeps no pointer to it.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How this thread is scheduled.
fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: all fields are numbers, for which zeros are values.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&attributes);
    // SAFETY: 0 is this thread; the kernel writes at most `size` bytes, which the value has, and keeps no pointer to it.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if got == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_become_short_and_nothing_else_changes() {
        std::thread::spawn(|| {
            let before = attributes().unwrap();
            take_short_turns().unwrap();
            let after = attributes().unwrap();
            assert_eq!(
                (before.sched_policy, before.sched_nice, before.sched_priority),
                (after.sched_policy, after.sched_nice, after.sched_priority)
            );
            // Where the kernel says nothing about turns, it does not know them.
            assert!(before.sched_runtime == 0 || after.sched_runtime == TURN);
        })
        .join()
        .unwrap();
    }
}
