use std::{
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use super::*;

fn pair() -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (server, client)
}

/// Answers everything with what was said, twice over; says nothing to `silent`.
fn echo(batch: &mut Batch, count: usize) {
    for at in 0..count {
        let Exchange { request, reply, .. } = batch.exchange(at).unwrap();
        if request != b"silent" {
            reply.extend_from_slice(request);
            reply.extend_from_slice(request);
        }
    }
}

fn all_come_back(mut batch: Batch) {
    let (server, client) = pair();
    assert_eq!(batch.receive(server.as_fd(), Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let mut answered = 0;
    for round in 0..5_u8 {
        for number in 0..20_u8 {
            client.send(&[round, number]).unwrap();
        }
        client.send(b"silent").unwrap();
        client.send(b"").unwrap();
        let mut got = 0;
        while got < 22 {
            let count = batch.receive(server.as_fd(), Wait::ForOne).unwrap();
            assert!(count > 0 && batch.exchange(count).is_none());
            let Exchange { from, asked, .. } = batch.exchange(0).unwrap();
            assert_eq!((from, asked), (client.local_addr().unwrap(), None));
            echo(&mut batch, count);
            batch.send(server.as_fd());
            got += count;
        }
        let mut buffer = [0; 16];
        for number in 0..20_u8 {
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], [round, number, round, number]);
            answered += 1;
        }
    }
    assert_eq!(answered, 100);
}

#[test]
fn datagrams_are_answered_in_batches() {
    let batch = Batch::new(8, 512);
    assert!(batch.is_batched());
    all_come_back(batch);
}

#[test]
fn and_one_by_one_where_batches_are_forbidden() {
    let mut batch = Batch::new(8, 512);
    batch.batched = false;
    all_come_back(batch);
}

/// Makes calls of this thread fail, as a seccomp profile does.
fn forbid(calls: &[libc::c_long], error: libc::c_int) {
    let step = |code: u32, jt: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    // The number of a call is the first word of what a filter sees.
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        let to_error = (calls.len() - at) as u8;
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_error, *call as u32));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a flag of this thread.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program outlives the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_system_that_forbids_a_call_is_served_without() {
    for error in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for calls in
            [&[libc::SYS_recvmmsg][..], &[libc::SYS_sendmmsg], &[libc::SYS_recvmmsg, libc::SYS_sendmmsg]]
        {
            // A filter is its thread's, and cannot be taken back.
            let served = std::thread::spawn(move || {
                forbid(calls, error);
                all_come_back(Batch::new(8, 512));
            });
            served.join().unwrap();
        }
    }
}

#[test]
fn what_is_too_long_is_cut() {
    let (server, client) = pair();
    let mut batch = Batch::new(4, 10);
    client.send(&[7; 100]).unwrap();
    assert_eq!(batch.receive(server.as_fd(), Wait::ForOne).unwrap(), 1);
    assert_eq!(batch.exchange(0).unwrap().request, [7; 10]);
}

#[test]
fn one_that_cannot_be_sent_does_not_keep_the_others() {
    let (server, client) = pair();
    let mut batch = Batch::new(4, 64);
    for byte in 0..3 {
        client.send(&[byte]).unwrap();
    }
    let mut count = 0;
    while count < 3 {
        count = batch.receive(server.as_fd(), Wait::ForOne).unwrap();
    }
    for at in 0..3 {
        // More than a datagram can be.
        *batch.exchange(at).unwrap().reply = vec![at as u8; if at == 1 { 70_000 } else { 2 }];
    }
    batch.send(server.as_fd());
    let mut buffer = [0; 16];
    for wanted in [0, 2] {
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], [wanted; 2]);
    }
}

#[test]
fn one_datagram_goes_out_by_itself() {
    let (server, client) = pair();
    let to = client.local_addr().unwrap();
    let asked = Asked { address: Ipv4Addr::LOCALHOST.into(), interface: 0 };
    for asked in [None, Some(asked)] {
        send(server.as_fd(), b"hello", to, asked).unwrap();
        let mut buffer = [0; 16];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }
}

#[test]
fn a_socket_that_is_shut_down_ends_the_wait() {
    for batched in [true, false] {
        let (server, client) = pair();
        let mut batch = Batch::new(4, 64);
        batch.batched = batched;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let count = batch.receive(server.as_fd(), Wait::ForOne).unwrap();
                (0..count).all(|at| batch.exchange(at).is_none())
            });
            std::thread::sleep(Duration::from_millis(50));
            server.connect(client.local_addr().unwrap()).unwrap();
            // SAFETY: an open socket.
            unsafe { libc::shutdown(server.as_raw_fd(), libc::SHUT_RD) };
            assert!(waiting.join().unwrap());
        });
        assert_eq!(batch.receive(server.as_fd(), Wait::No).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
