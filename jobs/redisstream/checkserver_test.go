package redisstream

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestClocksThatDifferAreLogged(t *testing.T) {
	now := time.Now()
	for ahead, want := range map[time.Duration]string{
		0: "", maxApart: "", -maxApart: "", time.Hour: "ahead=1h0m0s", -time.Hour: "ahead=-1h0m0s",
	} {
		var log bytes.Buffer
		checkClock(slog.New(slog.NewTextHandler(&log, nil)), now, now.Add(-ahead))
		if got := log.String(); (got != "") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%v ahead: logs %q", ahead, got)
		}
	}
}
