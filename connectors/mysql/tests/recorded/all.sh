#!/bin/bash
# Records every file of this folder anew.
set -e
cd "$(dirname "$0")"
./record.sh my97 my97-full FULL
./record.sh my97 my97-minimal MINIMAL
./record.sh my97 my97-compressed FULL --binlog-transaction-compression=ON --binlog-row-event-max-size=256
./record.sh my80 my80-full FULL
./record.sh my80 my80-compressed MINIMAL --binlog-transaction-compression=ON
./record.sh my80 my80-unchecked FULL --binlog-checksum=NONE
./record.sh ma105 ma105-full FULL
./record.sh ma1011 ma1011-bare NO_LOG
./record.sh ma1011 ma1011-compressed FULL --log-bin-compress=ON --log-bin-compress-min-len=10
./record.sh ma114 ma114-full FULL
./record.sh ma118 ma118-full FULL --binlog-alter-two-phase=ON
./record.sh ma118 ma118-compressed MINIMAL --log-bin-compress=ON --log-bin-compress-min-len=10
