//! The filter of system calls in the sandbox: a classic BPF program that refuses what no batch program needs.
//!
//! A list of what is refused, not of what is allowed: commands are whatever users bring, and a new call of a new C library
//! must not break them. Refused are changes of mounts and namespaces, of the kernel and the machine's clock, and parts of the
//! kernel that have been ways out of sandboxes (bpf, perf, userfaultfd, keys, io_uring, rare socket families, input
//! pushed into terminals). Debuggers (ptrace, `process_vm_*`) and placement of memory (mbind, `move_pages`) stay allowed:
//! they reach no further than the command's own processes. Refused calls fail with EPERM; `clone3`, whose flags a filter
//! cannot see, with ENOSYS, so that C libraries take `clone`; sockets of other families with EAFNOSUPPORT. Calls of another
//! architecture end the process, and those of x32 fail: both would go past the numbers listed here.
//!
//! Invariant: every path through the program ends in an answer, and jumps go forward only.  [every_refused_call_is_refused]

use nix::libc;

/// Offsets in `struct seccomp_data`: number, architecture, and the low half of each argument (little-endian).
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;

/// Load a word of the data; jump if equal, if greater or equal, if any bit is set; answer.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_BELOW: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const ANSWER: u16 = 0x06;

/// The answers of `SECCOMP_RET_*`.
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// The name of the architecture whose numbers are listed here, as the kernel has it; 0 where none are.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0
};
/// Numbers from here on are of x32, the other interface of x86-64.
const X32: u32 = 0x4000_0000;

/// Flags of clone and unshare that ask for namespaces: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: u32 = 0x7e02_0000;
/// The same for time, which only unshare knows: in clone the bit is part of a signal's number.
const NAMESPACE_OF_TIME: u32 = 0x80;
/// Commands that put input into a terminal, or reach into the console.
const TERMINAL_INPUT: [u32; 2] = [0x5412, 0x541c];
/// Families of sockets that commands get: unix, IPv4, IPv6, and netlink, which libraries ask for the node's addresses.
const FAMILIES: [u32; 4] = [1, 2, 10, 16];
/// What `personality` may be set to: that of Linux (also with the names of 32 bits or an old release), without random
/// addresses as debuggers want it; and the question what it is.
const PERSONALITIES: [u32; 6] = [0, 0x8, 0x2_0000, 0x2_0008, 0x4_0000, u32::MAX];

/// Calls that fail whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    // Namespaces.
    libc::SYS_setns,
    // The kernel and its modules.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    // Keys, which know no namespaces.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Files by handles, past every directory's rights.
    libc::SYS_open_by_handle_at,
    // Requests that the filter does not see.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// The newest way to open a tree of mounts, which the C library's list does not have.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_kexec_file_load, libc::SYS_uselib, libc::SYS__sysctl];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    /// To the next instruction.
    Next,
    /// Over so many instructions.
    Over(u8),
    /// To an answer.
    Answer(u32),
}

/// An instruction whose jumps are not counted yet.
#[derive(Debug, Clone, Copy)]
struct Draft {
    code: u16,
    constant: u32,
    yes: To,
    no: To,
}

const fn load(offset: u32) -> Draft {
    Draft { code: LOAD, constant: offset, yes: To::Next, no: To::Next }
}

const fn jump(code: u16, constant: u32, yes: To, no: To) -> Draft {
    Draft { code, constant, yes, no }
}

fn fails(errno: i32) -> To {
    To::Answer(ERRNO | u32::try_from(errno).unwrap_or(0))
}

/// The programs to install, in this order; none on an architecture whose numbers are not known here.
pub(super) fn filters() -> Vec<Vec<u8>> {
    if ARCHITECTURE == 0 {
        return Vec::new();
    }
    // Without an answer in reach there is no program, and no sandbox: the test below keeps that from happening.
    assemble(&program()).into_iter().collect()
}

fn program() -> Vec<Draft> {
    let refused = fails(libc::EPERM);
    let mut drafts = vec![
        load(OFFSET_ARCHITECTURE),
        jump(JUMP_EQUAL, ARCHITECTURE, To::Next, To::Answer(KILL_PROCESS)),
        load(OFFSET_NUMBER),
    ];
    if cfg!(target_arch = "x86_64") {
        drafts.push(jump(JUMP_NOT_BELOW, X32, refused, To::Next));
    }
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let whole = REFUSED.iter().chain(REFUSED_HERE);
    drafts.extend(whole.map(|call| jump(JUMP_EQUAL, number(*call), refused, To::Next)));
    drafts.push(jump(JUMP_EQUAL, number(libc::SYS_clone3), fails(libc::ENOSYS), To::Next));
    let mut rule = |call: libc::c_long, argument: u32, tests: Vec<Draft>| {
        // Past the load and the tests, of which the last one answers.
        let over = u8::try_from(tests.len().saturating_add(1)).unwrap_or(u8::MAX);
        drafts.push(jump(JUMP_EQUAL, number(call), To::Next, To::Over(over)));
        drafts.push(load(OFFSET_ARGUMENTS + argument * ARGUMENT_BYTES));
        drafts.extend(tests);
    };
    let allowed = To::Answer(ALLOW);
    let any_bit = |bits: u32| vec![jump(JUMP_ANY_BIT, bits, refused, allowed)];
    rule(libc::SYS_clone, 0, any_bit(NAMESPACES));
    rule(libc::SYS_unshare, 0, any_bit(NAMESPACES | NAMESPACE_OF_TIME));
    rule(libc::SYS_ioctl, 1, one_of(&TERMINAL_INPUT, refused, allowed));
    rule(libc::SYS_socket, 0, one_of(&FAMILIES, allowed, fails(libc::EAFNOSUPPORT)));
    rule(libc::SYS_personality, 0, one_of(&PERSONALITIES, allowed, refused));
    drafts.push(jump(JUMP_EQUAL, 0, allowed, allowed));
    drafts
}

/// Tests whether the argument is one of these.
fn one_of(values: &[u32], yes: To, no: To) -> Vec<Draft> {
    let mut tests: Vec<_> = values.iter().map(|value| jump(JUMP_EQUAL, *value, yes, To::Next)).collect();
    if let Some(last) = tests.last_mut() {
        last.no = no;
    }
    tests
}

/// Puts the answers behind the program and counts the jumps; `None` if one is too far for the kernel's 255 instructions.
fn assemble(drafts: &[Draft]) -> Option<Vec<u8>> {
    let mut answers: Vec<u32> = Vec::new();
    for to in drafts.iter().flat_map(|draft| [draft.yes, draft.no]) {
        if let To::Answer(answer) = to
            && !answers.contains(&answer)
        {
            answers.push(answer);
        }
    }
    let mut bytes = Vec::with_capacity((drafts.len() + answers.len()) * 8);
    let mut put = |code: u16, yes: u8, no: u8, constant: u32| {
        bytes.extend_from_slice(&code.to_ne_bytes());
        bytes.extend_from_slice(&[yes, no]);
        bytes.extend_from_slice(&constant.to_ne_bytes());
    };
    for (at, draft) in drafts.iter().enumerate() {
        let distance = |to: To| match to {
            To::Next => Some(0),
            To::Over(count) => Some(count),
            To::Answer(answer) => {
                let place = answers.iter().position(|known| *known == answer)?;
                u8::try_from(drafts.len() + place - at - 1).ok()
            }
        };
        put(draft.code, distance(draft.yes)?, distance(draft.no)?, draft.constant);
    }
    for answer in answers {
        put(ANSWER, 0, 0, answer);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPERM: u32 = ERRNO | 1;

    /// Runs the program as the kernel does.
    fn answer(architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let filters = filters();
        let instructions: Vec<(u16, usize, usize, u32)> = filters[0]
            .chunks_exact(8)
            .map(|raw| {
                let code = u16::from_ne_bytes([raw[0], raw[1]]);
                (code, raw[2].into(), raw[3].into(), u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]))
            })
            .collect();
        let word = |offset: u32| match offset {
            OFFSET_NUMBER => number,
            OFFSET_ARCHITECTURE => architecture,
            offset => {
                let argument = usize::try_from((offset - OFFSET_ARGUMENTS) / ARGUMENT_BYTES).unwrap();
                u32::try_from(arguments[argument] & u64::from(u32::MAX)).unwrap()
            }
        };
        let (mut at, mut loaded) = (0, 0);
        loop {
            let (code, yes, no, constant) = instructions[at];
            let jump = |holds: bool| if holds { yes } else { no };
            at += 1 + match code {
                LOAD => {
                    loaded = word(constant);
                    0
                }
                JUMP_EQUAL => jump(loaded == constant),
                JUMP_NOT_BELOW => jump(loaded >= constant),
                JUMP_ANY_BIT => jump(loaded & constant != 0),
                ANSWER => return constant,
                other => panic!("instruction {other:#x}"),
            };
        }
    }

    fn call(number: libc::c_long, first: u64, second: u64) -> u32 {
        answer(ARCHITECTURE, u32::try_from(number).unwrap(), [first, second, 0, 0, 0, 0])
    }

    #[test]
    fn there_is_a_filter_and_the_kernel_would_take_it() {
        let filters = filters();
        assert_eq!(filters.len(), 1);
        assert!(filters[0].len().is_multiple_of(8) && filters[0].len() / 8 < 4_096);
    }

    #[test]
    fn every_refused_call_is_refused() {
        for number in REFUSED.iter().chain(REFUSED_HERE) {
            assert_eq!(call(*number, 0, 0), EPERM, "call {number}");
        }
        assert_eq!(call(libc::SYS_clone3, 0, 0), ERRNO | 38);
    }

    #[test]
    fn ordinary_calls_pass() {
        for number in [
            libc::SYS_read,
            libc::SYS_openat,
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_mbind,
            libc::SYS_seccomp,
            libc::SYS_memfd_create,
            libc::SYS_prctl,
        ] {
            assert_eq!(call(number, 1, 1), ALLOW, "call {number}");
        }
    }

    #[test]
    fn arguments_decide_where_a_call_has_two_sides() {
        for (number, first, second, wanted) in [
            (libc::SYS_clone, 0x0120_0011, 0, ALLOW),
            (libc::SYS_clone, 0x003d_0f00, 0, ALLOW),
            (libc::SYS_clone, 0x1000_0011, 0, EPERM),
            (libc::SYS_clone, 0x0002_0011, 0, EPERM),
            (libc::SYS_clone, 0x80 | 0x11, 0, ALLOW),
            (libc::SYS_unshare, 0x400, 0, ALLOW),
            (libc::SYS_unshare, 0x1000_0000, 0, EPERM),
            (libc::SYS_unshare, 0x80, 0, EPERM),
            (libc::SYS_ioctl, 0, 0x5401, ALLOW),
            (libc::SYS_ioctl, 0, 0x5412, EPERM),
            (libc::SYS_ioctl, 0, 0xffff_ffff_0000_5412, EPERM),
            (libc::SYS_ioctl, 0, 0x541c, EPERM),
            (libc::SYS_socket, 1, 0, ALLOW),
            (libc::SYS_socket, 2, 0, ALLOW),
            (libc::SYS_socket, 10, 0, ALLOW),
            (libc::SYS_socket, 16, 0, ALLOW),
            (libc::SYS_socket, 17, 0, ERRNO | 97),
            (libc::SYS_socket, 38, 0, ERRNO | 97),
            (libc::SYS_socket, 40, 0, ERRNO | 97),
            (libc::SYS_personality, 0xffff_ffff, 0, ALLOW),
            (libc::SYS_personality, 0x4_0000, 0, ALLOW),
            (libc::SYS_personality, 0x40_0000, 0, EPERM),
        ] {
            assert_eq!(call(number, first, second), wanted, "call {number} with {first:#x} {second:#x}");
        }
    }

    #[test]
    fn other_interfaces_of_the_kernel_are_no_way_around() {
        assert_eq!(answer(0x4000_0003, 21, [0; 6]), KILL_PROCESS);
        if cfg!(target_arch = "x86_64") {
            assert_eq!(call(i64::from(X32) | libc::SYS_mount, 0, 0), EPERM);
            assert_eq!(call(i64::from(X32) | libc::SYS_read, 0, 0), EPERM);
        }
    }
}
