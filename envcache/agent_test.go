package envcache

import "os"

const childVar = "ENVCACHE_TEST_AGENT"

func playAgent() { os.Exit(1) }
