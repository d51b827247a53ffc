//! Why a broker does not let the client in: librdkafka's words, and what to do about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What a reason holds, and what it then is and asks for. The first one counts.
const REMEDIES: [(&str, &str); 6] = [
    (
        // librdkafka says the same of an unknown CA and of another host's name.
        "certificate verify failed",
        "the broker's certificate is not accepted: `ssl.ca.location` has to be the CA that signed it, and it has to \
         name the host that `kafka.brokers` and the broker's own address name",
    ),
    (
        "PLAINTEXT broker listener",
        "no TLS is spoken there: look at the port in `kafka.brokers`, and at `security.protocol`",
    ),
    (
        " alert ",
        "the broker does not accept this client's certificate, or TLS version: look at `ssl.certificate.location` and \
         `ssl.key.location`",
    ),
    ("Unsupported SASL mechanism", "`sasl.mechanisms` has to be one that the broker supports"),
    ("SASL authentication error", "the broker does not accept `sasl.username` and `sasl.password`"),
    ("", "look at `kafka.options`"),
];

/// What the client tells of itself, in words with a remedy, where it is about not being let in.
pub(crate) fn refused(error: &KafkaError, reason: &str) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let by_code = matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Authentication
                | Code::SSL
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
        )
    );
    // The broker's refusal comes as a connection that ends.
    let by_words = reason.contains("SSL routines");
    if !by_code && !by_words {
        return None;
    }
    // How long it took is another each time: who waits for a change would see one at each attempt.
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    let (_, remedy) = REMEDIES.iter().find(|(words, _)| reason.contains(words))?;
    Some(format!("Kafka does not let this client in: {remedy} ({reason})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: RDKafkaErrorCode, reason: &str, remedy: Option<&str>) {
        let told = refused(&KafkaError::Global(code), reason);
        assert_eq!(told.is_some(), remedy.is_some(), "{reason}: {told:?}");
        if let (Some(told), Some(remedy)) = (told, remedy) {
            assert!(told.contains(remedy) && !told.contains("(after "), "{told}");
        }
    }

    #[test]
    fn what_kafka_says_of_a_refusal_is_told_with_its_remedy() {
        use RDKafkaErrorCode as Code;
        for (code, reason, remedy) in [
            (
                Code::SSL,
                "sasl_ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify \
                 failed: broker certificate could not be verified (after 4ms in state SSL_HANDSHAKE)",
                "`ssl.ca.location`",
            ),
            (
                Code::Authentication,
                "sasl_ssl://h:1/bootstrap: SASL authentication error: Authentication failed during authentication due \
                 to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 331ms in state AUTH_REQ)",
                "`sasl.password`",
            ),
            (
                Code::Authentication,
                "h:1/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's \
                 supported mechanisms: SCRAM-SHA-512 (after 305ms in state AUTH_HANDSHAKE)",
                "`sasl.mechanisms`",
            ),
            (
                Code::BrokerTransportFailure,
                "ssl://h:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL \
                 alert number 42 (after 0ms in state APIVERSION_QUERY)",
                "`ssl.certificate.location`",
            ),
            (
                Code::SSL,
                "ssl://h:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to \
                 a PLAINTEXT broker listener? (after 9ms in state SSL_HANDSHAKE)",
                "no TLS is spoken there",
            ),
            (Code::GroupAuthorizationFailed, "FindCoordinator response error: not authorized", "`kafka.options`"),
        ] {
            check(code, reason, Some(remedy));
        }
    }

    #[test]
    fn a_broker_that_is_only_away_refuses_nobody() {
        let away = "h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)";
        check(RDKafkaErrorCode::BrokerTransportFailure, away, None);
        check(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down", None);
    }
}
