#!/bin/bash
# Healthy: whether the application has finished a round within five seconds.
now=$(date +%s) then=$(stat -c %Y /tmp/round 2>/dev/null) && [ $((now - then)) -le 5 ]
