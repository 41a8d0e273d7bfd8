package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/internal/testutil"
	"github.com/galeserver/gale/server"
)

// waiting is a route that waits until its client closes the connection or the test
// sends to the gate.
func waiting(causes chan error, s **site) server.Route {
	return server.Route{Method: "GET", Path: "/gone", Handler: func(ctx *fasthttp.RequestCtx) error {
		gone, stop := server.Gone(ctx)
		defer stop()
		(*s).inside <- struct{}{}
		select {
		case <-gone.Done():
			causes <- context.Cause(gone)
			return context.Cause(gone)
		case <-(*s).gate:
			causes <- nil
			return textHandler("still here")(ctx)
		}
	}}
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*client){
		"close":          func(c *client) { c.Close() },
		"reset":          func(c *client) { _ = c.Conn.(*net.TCPConn).SetLinger(0); c.Close() },
		"half a close":   (*client).endSending,
		"with more sent": func(c *client) { c.send(get("/")); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			causes := make(chan error, 1)
			var s *site
			s = open(t, server.Options{}, waiting(causes, &s))
			leaver, stayer := dial(t, s), dial(t, s)
			stayer.send(get("/gone") + get("/")) // unread input does not mean that the client left
			<-s.inside
			leaver.send(get("/gone"))
			<-s.inside
			leave(leaver)
			select {
			case err := <-causes:
				if !errors.Is(err, server.ErrClientGone) {
					t.Fatalf("cause %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the context did not end")
			}
			s.gate <- struct{}{}
			if got := stayer.response(); got.body != "still here" {
				t.Errorf("the one that stayed: %+v", got)
			}
			if got := stayer.response(); got.body != "hello" {
				t.Errorf("its next request: %+v", got)
			}
			testutil.Eventually(t, "it is counted as gone", func() bool { return strings.Contains(strings.Join(s.meter.seen(), ","), "GET 499") })
		})
	}
}

// TestClientGoneLater checks requests on a connection that was watched before.
func TestClientGoneLater(t *testing.T) {
	t.Parallel()
	var s *site
	// Both contexts of a request end, and the client gets the response.
	both := server.Route{Method: "GET", Path: "/both", Handler: func(ctx *fasthttp.RequestCtx) error {
		gone, stop := server.Gone(ctx)
		defer stop()
		s.inside <- struct{}{}
		for _, c := range []context.Context{gone, server.Context(ctx)} {
			select {
			case <-c.Done():
				if !errors.Is(context.Cause(c), server.ErrClientGone) {
					return context.Cause(c)
				}
			case <-s.gate:
				return textHandler("still here")(ctx)
			case <-time.After(patience):
				return errors.New("a context did not end")
			}
		}
		return textHandler("gone")(ctx)
	}}
	s = open(t, server.Options{}, both)
	c := dial(t, s)
	for range 2 {
		c.send(get("/both"))
		<-s.inside
		s.gate <- struct{}{}
		if got := c.response(); got.body != "still here" {
			t.Fatalf("before the end: %+v", got)
		}
	}
	c.send(get("/both") + get("/both")) // the second one begins when the client has gone already
	<-s.inside
	c.endSending()
	if got := c.response(); got.body != "gone" {
		t.Errorf("at the end: %+v", got)
	}
	<-s.inside
	if got := c.response(); got.body != "gone" {
		t.Errorf("after the end: %+v", got)
	}
}

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	causes := make(chan error, 1)
	var s *site
	s = open(t, server.Options{TLS: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}}, whoami, waiting(causes, &s))
	secure := func(c *tls.Config) (*client, *tls.Conn, error) {
		c.InsecureSkipVerify = true
		raw := dial(t, s)
		over := tls.Client(raw.Conn, c)
		err := over.Handshake()
		return &client{TB: t, Conn: over, in: newReader(over)}, over, err
	}
	c, over, err := secure(&tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if state := over.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != tls.VersionTLS13 {
		t.Errorf("%s, %x", state.NegotiatedProtocol, state.Version)
	}
	c.send(get("/whoami") + post("/ignore", getHidden) + get("/"))
	if got := c.response(); !strings.HasPrefix(got.body, "127.0.0.1 https ") {
		t.Errorf("got %+v", got)
	}
	if c.response().body != "ignored" || c.response().body != "hello" || s.hidden.Load() != 0 {
		t.Error("with TLS the body was taken for a request")
	}
	if _, _, err := secure(&tls.Config{MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	t.Run("a refusal is read", func(t *testing.T) {
		c, _, err := secure(&tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c.Conn, post("/read", strings.Repeat("x", 4<<20))) }() // ends with the connection
		if got := c.response(); got.status != 413 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("plain HTTP", func(t *testing.T) {
		c := dial(t, s)
		c.send(get("/"))
		if data, err := io.ReadAll(c.in); strings.Contains(string(data), "hello") {
			t.Errorf("got %q, %v", data, err)
		}
	})
	t.Run("a client that leaves", func(t *testing.T) {
		c, _, err := secure(&tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		c.send(get("/gone"))
		<-s.inside
		c.Close()
		if err := <-causes; !errors.Is(err, server.ErrClientGone) {
			t.Error(err)
		}
	})
	t.Run("a handshake during a drain", func(t *testing.T) {
		raw := dial(t, s)
		testutil.Eventually(t, "it is accepted", func() bool { return s.meter.opened.Load()-s.meter.closed.Load() >= 2 })
		s.stop()
		testutil.Eventually(t, "connections are refused", func() bool {
			_, err := net.Dial("tcp", s.addr)
			return err != nil
		})
		over := tls.Client(raw.Conn, &tls.Config{InsecureSkipVerify: true})
		if err := over.Handshake(); err != nil {
			t.Fatal(err)
		}
		c := &client{TB: t, Conn: over, in: newReader(over)}
		c.send(get("/"))
		if got := c.response(); got.body != "hello" || !got.close {
			t.Errorf("got %+v", got)
		}
	})
}

// If Admit refuses a request with Expect: 100-continue, the client gets the error
// response before it sends the body.
func TestAdmitComesBeforeTheBody(t *testing.T) {
	t.Parallel()
	ran := make(chan struct{}, 10)
	s := open(t, server.Options{}, server.Route{
		Method: "POST", Path: "/guarded", MaxBody: -1,
		Admit: func(h *fasthttp.RequestHeader) (any, error) {
			if string(h.Peek("Authorization")) != "yes" {
				return nil, server.Fail(http.StatusUnauthorized, "no")
			}
			return nil, nil
		},
		Handler: func(ctx *fasthttp.RequestCtx) error {
			ran <- struct{}{}
			_, err := io.Copy(io.Discard, server.Body(ctx))
			return err
		},
	})
	c := dial(t, s)
	c.send("POST /guarded HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
	if got := c.response(); got.status != 401 || !got.close {
		t.Errorf("got %+v", got)
	}
	if got := talk(t, s, post("/guarded", getHidden)+get("/")); statuses(got) != "401 200" {
		t.Errorf("got %v", got)
	}
	if got := talk(t, s, strings.Replace(post("/guarded", "body"), "Host", "Authorization: yes\r\nHost", 1)); statuses(got) != "200" || len(ran) != 1 {
		t.Errorf("got %v, ran %d times", got, len(ran))
	}
}
