package realtime_test

import (
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server/realtime"
)

// FuzzFrames sends arbitrary bytes. The server must close the connection without a reset and
// without a panic, and the handler must not get a text that is not UTF-8 or a message that is
// too long.
func FuzzFrames(f *testing.F) {
	for _, c := range conformanceCases() {
		if all := slices.Concat(c.send...); len(all) < 1000 {
			f.Add(all)
		}
	}
	const most = 512
	log := new(testutil.LogBuffer)
	s := open(f, realtime.Options{MaxMessage: most, Compress: true, Logger: slog.New(slog.NewTextHandler(log, nil))}, func() realtime.Handler {
		inner := echoes().(*events)
		echo := inner.message
		inner.message = func(c *realtime.Conn, m realtime.Message) {
			if len(m.Data) > most || !m.Binary && !utf8.Valid(m.Data) {
				panic("invalid message")
			}
			echo(c, m)
		}
		return inner
	})
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, fields := range []string{"", "Sec-WebSocket-Extensions: permessage-deflate\r\n"} {
			c := dialRaw(t, s, fields)
			_, _ = c.Write(sent)
			_, _ = c.Write(frame(closing, closeWith(1000, "")))
			_ = c.SetReadDeadline(time.Now().Add(patience))
			type halfCloser interface{ CloseWrite() error }
			_ = c.Conn.(halfCloser).CloseWrite()
			if _, err := io.Copy(io.Discard, c.in); err != nil {
				t.Errorf("the connection was not closed in order: %v", err)
			}
			c.Close()
		}
		if text := log.String(); text != "" {
			t.Errorf("log: %s", text)
		}
	})
}
