package realtime_test

import (
	"strings"
	"testing"

	"github.com/galeserver/gale/internal/sharedtest"
	"github.com/galeserver/gale/server/realtime"
)

// Messages of every length arrive, those of channels and others.
func TestFrameLengths(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]realtime.Options{"plain": {}, "compression": {Compress: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBus(t, sharedtest.Open(t, sharedtest.StateServer(t)), realtime.BusOptions{})
			subscriber := dial(t, open(t, o, dataHandler(t, b, nil)))
			wantText(t, subscriber, "begin")
			echo := dial(t, open(t, o, echoes))
			for _, length := range []int{0, 1, 125, 126, 127, 4096, 1<<16 - 1, 1 << 16, 1<<16 + 1, 300_000} {
				text := strings.Repeat("x", length)
				if err := echo.WriteMessage(1, []byte(text)); err != nil {
					t.Fatal(err)
				}
				wantText(t, echo, text)
				publish(t, b, "a", text)
				wantText(t, subscriber, text)
			}
		})
	}
}
