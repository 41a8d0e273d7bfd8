package clock_test

import (
	"os"
	"testing"

	"github.com/galeserver/gale/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
