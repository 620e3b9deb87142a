use super::*;

#[tokio::test]
async fn names_of_others_are_asked_upstream() {
    for manner in [Manner::Good, Manner::Truncates] {
        let router = testing::router(&format!(".:53 {{\n forward . {}\n}}", upstream(manner).await));
        let reply = testing::ask(&router, "Other.Example.", RecordType::A).await;
        assert_eq!(text(&reply.answers), ["Other.Example. 192.0.2.9"], "{manner:?}");
        assert!(reply.recursion_available && !reply.truncated);
        assert_eq!((reply.plugin, reply.from_cluster), ("forward", false));
        let many = testing::ask(&router, "many.example.com.", RecordType::A).await;
        assert_eq!(many.answers.len(), 60);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_has_a_neighbour() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = upstream(Manner::Good).await;
    for first in [dead, upstream(Manner::Silent).await] {
        let router =
            testing::router(&format!(".:53 {{\n forward . {first} {good} {{\n policy sequential\n }}\n}}"));
        let reply = testing::ask(&router, "a.example.", RecordType::A).await;
        assert_eq!(text(&reply.answers), ["a.example. 192.0.2.9"]);
    }
}
