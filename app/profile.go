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

// maxProfile is the longest duration of a profile.
const maxProfile = time.Minute

// profiler serves /debug/pprof/SLOT/…: the profiles of the process in a slot, or of the
// master if SLOT is "master".
type profiler struct {
	master supervisor
	allow  func(*http.Request) (code int, reason string)
	own    http.Handler
	proxy  *httputil.ReverseProxy
}

func newProfiler(m supervisor, c config.Config, log *slog.Logger) *profiler {
	transport := &http.Transport{
		// The host of the address is the slot's name; the port is not used.
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
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), Transport: transport,
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

// mayProfile returns the access check for profiles, which show the memory of a process
// and cost CPU time. With a token set, the token is required. Without one, profiles
// need -pprof, and then every local client except web pages of other sites has access.
func mayProfile(c config.Config) func(*http.Request) (int, string) {
	return func(r *http.Request) (int, string) {
		switch {
		case c.Token == "" && !c.Pprof:
			return http.StatusForbidden, "profiles are off: set -token-file or -pprof"
		case c.Token != "" && !hasToken(r, c.Token):
			return http.StatusUnauthorized, "a bearer token is needed"
		case c.Token == "" && !strings.HasPrefix(c.Admin, "unix:") && !fromLoopback(r): // browsers cannot connect to a Unix socket
			return http.StatusForbidden, "without a token, profiles are only served to this machine: use the host localhost or 127.0.0.1, or set -token-file"
		}
		return 0, ""
	}
}

// allowed calls an access check, and responds if that refuses the request.
func allowed(w http.ResponseWriter, r *http.Request, allow func(*http.Request) (int, string)) bool {
	code, reason := allow(r)
	if code == 0 {
		return true
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gale"`)
	}
	reply(w, code, map[string]string{"reason": reason})
	return false
}

// hasToken reports whether the request has the bearer token.
func hasToken(r *http.Request, token string) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, sum := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(got))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

// fromLoopback reports whether a request names a loopback host and was not sent by a
// web page of another site. A page could resolve its own domain to 127.0.0.1 and read
// the response (DNS rebinding), and any page can request a profile that takes a minute.
// -pprof without a token requires a loopback address, so no other host name is valid.
func fromLoopback(r *http.Request) bool {
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
	if !allowed(w, r, p.allow) {
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
	inside.Header.Del("Authorization") // children must not see the token: profiles show their memory
	inside.URL = &url.URL{Scheme: "http", Host: net.JoinHostPort(slot, "80"), Path: "/debug/pprof/" + r.PathValue("profile"), RawQuery: r.URL.RawQuery}
	if slot == "master" {
		p.own.ServeHTTP(w, inside)
		return
	}
	p.proxy.ServeHTTP(w, inside)
}
