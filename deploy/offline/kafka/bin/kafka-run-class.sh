#!/bin/bash
# Runs a class of Kafka with the options of the environment, as the script of this name in Kafka's own archive does.
set -euo pipefail
if [[ -z ${KAFKA_LOG4J_OPTS-} ]]; then
  settings=/opt/kafka/config/tools-log4j2.yaml
  [[ -e $settings ]] || settings=/etc/kafka/docker/tools-log4j2.yaml
  KAFKA_LOG4J_OPTS=-Dlog4j2.configurationFile=$settings
fi
# shellcheck disable=SC2086 # options are words
exec java ${KAFKA_HEAP_OPTS:--Xmx256m} ${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseG1GC -XX:MaxGCPauseMillis=20} \
  ${KAFKA_JMX_OPTS-} ${KAFKA_LOG4J_OPTS} ${KAFKA_OPTS-} -cp "/opt/kafka/libs/*" "$@"
