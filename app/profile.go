package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/app/internal/config"
	"github.com/galeserver/gale/prefork"
)

// maxProfile is how long a profile may be taken.
const maxProfile = time.Minute

// profiler serves /debug/pprof/SLOT/…: the profiles of the slot's process, or of
// the master.
type profiler struct {
	master supervisor
	allow  func(*http.Request) (code int, reason string)
	own    http.Handler
	proxy  *httputil.ReverseProxy
}

func newProfiler(m supervisor, c config.Config, log *slog.Logger) *profiler {
	visitor := &http.Transport{
		// The address is the slot's name, with a port that means nothing.
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			slot, _, _ := net.SplitHostPort(addr)
			return m.Dial(ctx, slot)
		},
		DisableKeepAlives:     true,
		ResponseHeaderTimeout: maxProfile + 5*time.Second,
	}
	return &profiler{
		master: m, allow: mayProfile(c), own: profiles(),
		proxy: &httputil.ReverseProxy{
			Rewrite:  func(*httputil.ProxyRequest) {},
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), Transport: visitor,
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				code := http.StatusBadGateway
				if errors.Is(err, prefork.ErrNoProcess) {
					code = http.StatusNotFound
				}
				reply(w, code, map[string]string{"reason": err.Error()})
			},
		},
	}
}

// mayProfile says who may see profiles, which show what is in memory and cost
// time: whoever has the token; without one everybody who reaches the endpoint,
// if -pprof says so, save pages that a browser here has opened.
func mayProfile(c config.Config) func(*http.Request) (int, string) {
	want := sha256.Sum256([]byte(c.Token))
	return func(r *http.Request) (int, string) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(token))
		switch {
		case c.Token == "" && !c.Pprof:
			return http.StatusForbidden, "profiles are off: set -token-file, or -pprof"
		case c.Token != "" && (!strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1):
			return http.StatusUnauthorized, "a bearer token is needed"
		case c.Token == "" && !strings.HasPrefix(c.Admin, "unix:") && !ofThisMachine(r): // no browser speaks to a unix socket
			return http.StatusForbidden, "profiles without a token are for this machine, by its own name: localhost, 127.0.0.1"
		}
		return 0, ""
	}
}

// ofThisMachine is false for what a page of elsewhere had a browser send: with a
// name of its own, which it has let become this machine's address, it could read
// the answer (DNS rebinding), and any page can ask for one that costs a minute.
// -pprof without a token is for loopback only, so no other name is anybody's.
func ofThisMachine(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return false
	}
	site := r.Header.Get("Sec-Fetch-Site") // Fetch Metadata §2.3
	return site == "" || site == "none" || site == "same-origin"
}

// ServeHTTP implements http.Handler.
func (p *profiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code, reason := p.allow(r); code != 0 {
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gale"`)
		}
		reply(w, code, map[string]string{"reason": reason})
		return
	}
	if text := r.FormValue("seconds"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0 && n <= maxProfile.Seconds()) {
			reply(w, http.StatusBadRequest, map[string]string{"reason": "seconds: a number from 0 to 60"})
			return
		}
	}
	slot := r.PathValue("slot")
	inside := r.Clone(r.Context())
	inside.Header.Del("Authorization") // what a child shows need not hold the token
	inside.URL = &url.URL{Scheme: "http", Host: net.JoinHostPort(slot, "80"), Path: "/debug/pprof/" + r.PathValue("profile"), RawQuery: r.URL.RawQuery}
	if slot == "master" {
		p.own.ServeHTTP(w, inside)
		return
	}
	p.proxy.ServeHTTP(w, inside)
}
