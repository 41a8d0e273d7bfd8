package upgrade_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/galeserver/gale/server/upgrade"
)

// A reason is truncated to the size limit of a control frame, and not within a character.
func TestCloseFrame(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		reason string
		length int // bytes of the truncated reason
	}{
		{"", 0},
		{"bye", 3},
		{strings.Repeat("x", 123), 123},
		{strings.Repeat("x", 124), 123},
		{strings.Repeat("é", 100), 122},
		{"x" + strings.Repeat("€", 100), 121},
	} {
		frame := upgrade.CloseFrame(4000, row.reason)
		if reason := string(frame[2:]); len(reason) != row.length || !utf8.ValidString(reason) || !strings.HasPrefix(row.reason, reason) {
			t.Errorf("%.10q…: %q", row.reason, reason)
		}
		if frame[0] != 4000>>8 || frame[1] != 4000&0xff {
			t.Errorf("code %x", frame[:2])
		}
	}
}
