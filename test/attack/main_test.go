// Package attack_test attacks a server with default flags, while a prober checks that the
// server continues to serve other clients.
package attack_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
