# Places: where tests keep what outlives a checkout. Sourced, not run.

# Everything we build or need again is under here; deleting it costs time only.
cache=${LAZARETTE_CACHE:-${HOME:-/root}/.cache/lazarette}
# Hosts of running tests. Same file system as the images, so that their layers can be linked instead of copied.
hosts=${LAZARETTE_HOSTS:-$cache/hosts}
