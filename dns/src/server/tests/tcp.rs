//! Connections of clients that hurry, dawdle, stop reading, vanish, or are too many.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use tokio::{net::TcpSocket, sync::Notify};

use super::*;

/// Echoes, as its name says: `q…` at once, `s…` when it is told to, `n…` never, `b…` with 2 KiB behind it.
#[derive(Default)]
struct Echo {
    seen: AtomicUsize,
    tell: Arc<Notify>,
}

impl Handler for Arc<Echo> {
    fn handle(&self, request: &[u8], _: Peer, _: Instant, out: &mut Vec<u8>) -> Handled {
        self.seen.fetch_add(1, Ordering::Relaxed);
        let request = request.to_vec();
        match request.first() {
            Some(b's') => {
                let told = Arc::clone(&self.tell);
                Handled::Later(Box::pin(async move {
                    told.notified().await;
                    Replies::new(vec![request], None)
                }))
            }
            Some(b'n') => Handled::Silent,
            kind => {
                out.clear();
                out.extend_from_slice(&request);
                out.resize(request.len() + if kind == Some(&b'b') { 2048 } else { 0 }, b'.');
                Handled::Reply
            }
        }
    }
}

impl Echo {
    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

fn echo(limits: Limits) -> (Running, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    let limits = Limits { udp_sockets: 1, ..limits };
    (start_with("127.0.0.1:0", Arc::clone(&echo), limits, Arc::default()), echo)
}

/// A connection of the client at 127.0.0.N, whose kernel takes little.
async fn connect(client: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(16384).unwrap();
    socket.bind(([127, 0, 0, client], 0).into()).unwrap();
    timeout(PATIENCE, socket.connect(to)).await.expect("cannot connect").unwrap()
}

async fn say(stream: &mut TcpStream, what: &[&str]) {
    let bytes: Vec<u8> = what.iter().flat_map(|what| framed(what.as_bytes())).collect();
    stream.write_all(&bytes).await.unwrap();
}

/// The next answer, without what is behind a dot; `None` at the end of the connection.
async fn hear(stream: &mut TcpStream) -> Option<String> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("no answer in time").ok()?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await.unwrap();
    let text = String::from_utf8(reply).unwrap();
    Some(text.split('.').next().unwrap_or_default().to_owned())
}

/// Whether a question on it is answered.
async fn lives(stream: &mut TcpStream) -> bool {
    stream.write_all(&framed(b"q")).await.is_ok() && hear(stream).await.is_some()
}

#[tokio::test]
async fn a_thousand_questions_at_once_through_a_small_window() {
    let server = start("127.0.0.1:0", Limits::default());
    let stream = connect(1, server.address).await;
    let (mut read, mut write) = stream.into_split();
    // Answers of 2.4 KB: far more than both kernels hold.
    let names = ["big.ns.svc.cluster.local.", "vip.ns.svc.cluster.local.", "no.ns.svc.cluster.local."];
    let writing = tokio::spawn(async move {
        for id in 0..1000 {
            let question = query(id, names[usize::from(id) % 3], RecordType::A);
            write.write_all(&framed(&question)).await.unwrap();
        }
        write
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    for id in 0..1000 {
        let length = timeout(PATIENCE, read.read_u16()).await.expect("no answer in time").unwrap();
        let mut reply = vec![0; usize::from(length)];
        read.read_exact(&mut reply).await.unwrap();
        let message = Message::from_vec(&reply).unwrap();
        assert_eq!(message.metadata.id, id, "what is there at once goes out in order");
        assert_eq!(message.answers.len(), [150, 1, 0][usize::from(id) % 3]);
    }
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn what_takes_its_time_does_not_hold_up_what_does_not() {
    let (server, echo) = echo(Limits::default());
    let mut stream = connect(1, server.address).await;
    say(&mut stream, &["s1", "q2", "n3", "s4", "q5"]).await;
    assert_eq!(hear(&mut stream).await.unwrap(), "q2");
    assert_eq!(hear(&mut stream).await.unwrap(), "q5");
    echo.tell.notify_waiters();
    let mut late = [hear(&mut stream).await.unwrap(), hear(&mut stream).await.unwrap()];
    late.sort();
    assert_eq!(late, ["s1", "s4"]);
    assert!(lives(&mut stream).await);
}

#[tokio::test]
async fn no_more_is_taken_up_than_may_wait() {
    let (server, echo) =
        echo(Limits { tcp_waiting: 3, tcp_idle: Duration::from_millis(200), ..Limits::default() });
    let mut stream = connect(1, server.address).await;
    let questions: Vec<String> = (0..40).map(|at| format!("s{at}")).collect();
    say(&mut stream, &questions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // Longer than a connection may be idle: one that is owed answers is not.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(echo.seen(), 3);
    let mut answers = Vec::new();
    while answers.len() < 40 {
        echo.tell.notify_waiters();
        let next = timeout(Duration::from_millis(20), stream.read_u16()).await;
        let Ok(Ok(length)) = next else { continue };
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.unwrap();
        answers.push(String::from_utf8(reply).unwrap());
    }
    answers.sort();
    let mut wanted = questions;
    wanted.sort();
    assert_eq!(answers, wanted);
}

#[tokio::test]
async fn a_question_that_comes_byte_by_byte_has_a_deadline() {
    let limits = Limits { tcp_read: Duration::from_millis(300), ..Limits::default() };
    let (server, echo) = echo(limits);
    let mut fast = connect(2, server.address).await;
    let mut stream = connect(1, server.address).await;
    // In time it is a question like any other.
    for byte in framed(b"q in time") {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(hear(&mut stream).await.unwrap(), "q in time");
    let started = Instant::now();
    let trickle = async {
        for byte in framed(&[b'q'; 1000]) {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("a slow connection goes on");
    assert!(started.elapsed() >= Duration::from_millis(300), "it was ended early");
    assert_eq!(echo.seen(), 1);
    assert!(lives(&mut fast).await);
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_answered_for_ever() {
    let limits = Limits { tcp_write: Duration::from_millis(500), ..Limits::default() };
    let (server, echo) = echo(limits);
    let mut stream = connect(1, server.address).await;
    let question = framed(b"big");
    let mut asked = 0_usize;
    let flood = async {
        while stream.write_all(&question).await.is_ok() {
            asked += 1;
        }
    };
    timeout(PATIENCE, flood).await.expect("a client that never reads is listened to");
    // Both kernels' buffers and ours; without a bound it would be all that was asked in that time.
    let bytes = echo.seen() * 2048;
    assert!(bytes < 2 << 20, "{bytes} bytes of answers were made for nobody");
    assert!(asked < 100_000, "{asked} questions were taken");
    assert!(echo.seen() > 10);
    assert!(lives(&mut connect(1, server.address).await).await);
}

#[tokio::test]
async fn a_client_that_has_said_all_is_owed_its_answers() {
    let (server, echo) = echo(Limits { tcp_waiting: 2, ..Limits::default() });
    let mut stream = connect(1, server.address).await;
    say(&mut stream, &["b1", "s2", "s3", "s4", "b5", "q6"]).await;
    stream.write_all(b"\0\x09half").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), "b1");
    let mut rest = Vec::new();
    while rest.len() < 5 {
        echo.tell.notify_waiters();
        if let Ok(Ok(length)) = timeout(Duration::from_millis(20), stream.read_u16()).await {
            let mut reply = vec![0; usize::from(length)];
            stream.read_exact(&mut reply).await.unwrap();
            rest.push(String::from_utf8(reply[..2].to_vec()).unwrap());
        }
    }
    rest.sort();
    assert_eq!(rest, ["b5", "q6", "s2", "s3", "s4"]);
    assert!(is_closed(&mut stream).await);
    assert_eq!(echo.seen(), 6);
}

#[tokio::test]
async fn a_connection_that_does_nothing_ends() {
    let limits = Limits { tcp_idle: Duration::from_millis(300), ..Limits::default() };
    let (server, _) = echo(limits);
    let started = Instant::now();
    let (mut silent, mut asks) = (connect(1, server.address).await, connect(1, server.address).await);
    for _ in 0..6 {
        assert!(lives(&mut asks).await, "a connection that is used was ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_closed(&mut silent).await);
    let since = Instant::now();
    assert!(is_closed(&mut asks).await);
    assert!(started.elapsed() >= Duration::from_millis(800));
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn one_client_has_so_many_connections() {
    let (server, _) = echo(Limits { tcp_connections_per_client: 3, ..Limits::default() });
    let mut other = connect(2, server.address).await;
    let mut ours = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(1, server.address).await;
        assert!(lives(&mut stream).await);
        ours.push(stream);
    }
    // One that owes nothing and is owed nothing goes: the first, of this client.
    let mut fourth = connect(1, server.address).await;
    assert!(lives(&mut fourth).await);
    assert!(is_closed(&mut ours[0]).await);
    // All are owed something: the newcomer goes.
    for stream in ours.iter_mut().skip(1).chain([&mut fourth]) {
        say(stream, &["s", "q"]).await;
        assert_eq!(hear(stream).await.unwrap(), "q");
    }
    assert!(is_closed(&mut connect(1, server.address).await).await);
    for stream in ours.iter_mut().skip(1).chain([&mut fourth, &mut other]) {
        assert!(lives(stream).await);
    }
}

#[tokio::test]
async fn there_are_so_many_connections_in_all() {
    let (server, _) = echo(Limits { tcp_connections: 4, ..Limits::default() });
    let mut busy = connect(1, server.address).await;
    say(&mut busy, &["s", "q"]).await;
    assert_eq!(hear(&mut busy).await.unwrap(), "q");
    let mut used = connect(2, server.address).await;
    assert!(lives(&mut used).await);
    let mut crowd = Vec::new();
    for client in 3..40 {
        let stream = connect(client, server.address).await;
        // It asks now and then, the crowd never does.
        assert!(lives(&mut used).await, "a connection that is used went before idle ones");
        crowd.push(stream);
    }
    assert!(lives(&mut busy).await, "a connection that is owed an answer went");
    let mut alive = 0;
    for stream in &mut crowd {
        let mut byte = [0; 1];
        alive += usize::from(timeout(Duration::from_millis(20), stream.read(&mut byte)).await.is_err());
    }
    assert_eq!(alive, 2, "as many as there are places for");
}

#[tokio::test]
async fn a_flood_of_connections_leaves_room() {
    let (server, _) =
        echo(Limits { tcp_connections: 50, tcp_connections_per_client: 10, ..Limits::default() });
    let mut ours = connect(1, server.address).await;
    let to = server.address;
    let flood = tokio::spawn(async move {
        let mut held = Vec::new();
        for at in 0..2000_u32 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, (at % 100) as u8], 0).into()).unwrap();
            if let Ok(Ok(stream)) = timeout(PATIENCE, socket.connect(to)).await {
                held.push(stream);
            }
            if held.len() > 400 {
                held.clear();
            }
        }
    });
    let mut answered = 0;
    while !flood.is_finished() {
        assert!(lives(&mut ours).await);
        answered += 1;
        tokio::task::yield_now().await;
    }
    assert!(answered > 10);
}

#[tokio::test]
async fn resets_in_the_middle_give_places_back() {
    let (server, echo) = echo(Limits { tcp_connections: 1, ..Limits::default() });
    for what in [&[][..], b"\0", b"\0\x05qu", b"\0\x01s", b"\0\x01s\0\x01s\0", b"\0\x03big\0\x03big"] {
        let mut stream = connect(1, server.address).await;
        stream.write_all(what).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        stream.set_zero_linger().unwrap();
        drop(stream);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut stream = connect(1, server.address).await;
    assert!(lives(&mut stream).await);
    assert_eq!(echo.seen(), 6);
}

#[tokio::test]
async fn after_the_last_question_answers_still_arrive() {
    let (server, echo) = echo(Limits { tcp_queries: NonZeroUsize::new(3), ..Limits::default() });
    let mut stream = connect(1, server.address).await;
    // Questions that are not answered any more must not cost those that were their answers.
    let questions: Vec<String> = (0..2000).map(|at| format!("b{at}")).collect();
    say(&mut stream, &questions.iter().map(String::as_str).collect::<Vec<_>>()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for at in 0..3 {
        assert_eq!(hear(&mut stream).await.unwrap(), format!("b{at}"));
    }
    assert_eq!(hear(&mut stream).await, None);
    assert_eq!(echo.seen(), 3);
}

#[tokio::test]
async fn more_than_a_request_is_ends_the_connection_behind_what_came_before() {
    let (server, echo) = echo(Limits { tcp_request: 100, ..Limits::default() });
    let mut stream = connect(1, server.address).await;
    say(&mut stream, &["q1", "q2"]).await;
    stream.write_all(&[0, 101, 1, 2, 3]).await.unwrap();
    assert_eq!(hear(&mut stream).await.unwrap(), "q1");
    assert_eq!(hear(&mut stream).await.unwrap(), "q2");
    assert_eq!(hear(&mut stream).await, None);
    // A request of no bytes is one, and is answered as what it is.
    let mut stream = connect(1, server.address).await;
    say(&mut stream, &["", "q3"]).await;
    assert_eq!(hear(&mut stream).await.unwrap(), "");
    assert_eq!(hear(&mut stream).await.unwrap(), "q3");
    assert_eq!(echo.seen(), 4);
}

#[tokio::test]
async fn a_server_that_stops_gives_the_answers_that_it_owes() {
    let (server, echo) = echo(Limits::default());
    let (mut owed, mut idle) = (connect(1, server.address).await, connect(1, server.address).await);
    assert!(lives(&mut idle).await);
    say(&mut owed, &["s1", "q2"]).await;
    assert_eq!(hear(&mut owed).await.unwrap(), "q2");
    server.stop.cancel();
    assert!(is_closed(&mut idle).await);
    echo.tell.notify_waiters();
    assert_eq!(hear(&mut owed).await.unwrap(), "s1");
    assert_eq!(hear(&mut owed).await, None);
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
}
