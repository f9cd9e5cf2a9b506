"""Sites' events into Kafka: checked, answered one by one, acknowledged only once Kafka has them safely."""
