package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Origins is a set of web origins (RFC 6454), other than the server's own, whose pages
// may use the server. The zero value is empty.
type Origins struct {
	exact     map[string]struct{}
	wildcards []wildcard
}

// wildcard is an entry with *: the text before and after it, such as "https://" and
// ".example.com:8443".
type wildcard struct{ before, after string }

// ParseOrigins reads entries such as https://app.example, http://localhost:3000 and
// https://*.example.com, which matches every subdomain at any depth but not
// example.com itself. It normalizes entries to the form that browsers send: lower
// case, no default port, no trailing slash, international names in their xn-- form.
// The error reports every entry that cannot match the Origin field of a browser.
func ParseOrigins(entries []string) (Origins, error) {
	o := Origins{exact: make(map[string]struct{})}
	var faults []error
	for _, entry := range entries {
		origin, err := normalOrigin(entry)
		if err != nil {
			faults = append(faults, fmt.Errorf("%q %w", entry, err))
			continue
		}
		if before, after, ok := strings.Cut(origin, "*"); ok {
			o.wildcards = append(o.wildcards, wildcard{before, after})
		} else {
			o.exact[origin] = struct{}{}
		}
	}
	return o, errors.Join(faults...)
}

// Empty reports whether o has no entries.
func (o Origins) Empty() bool { return len(o.exact) == 0 && len(o.wildcards) == 0 }

// Match reports whether the value of a request's Origin field is one of o.
func (o Origins) Match(origin []byte) bool {
	if len(origin) == 0 || o.Empty() {
		return false
	}
	if bytes.ContainsFunc(origin, unicode.IsUpper) { // from a client that is not a browser
		origin = bytes.ToLower(origin)
	}
	if _, ok := o.exact[string(origin)]; ok {
		return true
	}
	for _, w := range o.wildcards {
		rest, scheme := bytes.CutPrefix(origin, []byte(w.before))
		subdomain, domain := bytes.CutSuffix(rest, []byte(w.after))
		if scheme && domain && isDomain(string(subdomain)) {
			return true
		}
	}
	return false
}

// defaultPorts are the ports that browsers leave out of an origin.
var defaultPorts = map[string]string{"http": "80", "https": "443"}

// opaqueSchemes are schemes of URLs whose pages have the origin null (HTML Standard
// §7.1.1).
var opaqueSchemes = []string{"file", "data", "blob", "about", "javascript"}

// normalOrigin returns an entry in the form that browsers send (WHATWG URL §4.1, RFC
// 6454 §6.1). It keeps a * for subdomains. ParseOrigins puts the entry in front of the
// error text, so the text begins with a verb.
func normalOrigin(entry string) (string, error) {
	scheme, rest, ok := strings.Cut(entry, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case entry == "*":
		return "", errors.New("would allow the pages of every website: name their origins")
	case entry == "null":
		return "", errors.New("is sent by many unrelated pages, so it cannot be allowed")
	case !ok:
		return "", errors.New("has no scheme; an origin is written like https://app.example")
	case scheme == "ws", scheme == "wss":
		return "", errors.New("has the scheme of a WebSocket; give the origin of the page, http or https")
	case slices.Contains(opaqueSchemes, scheme):
		return "", errors.New("can never match: such pages send the origin null")
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, `/?#@\%`) {
		return "", errors.New("can never match: an origin is a scheme, a host and perhaps a port, such as https://app.example:8443")
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil || u.Hostname() == "" {
		return "", errors.New("has no valid scheme, host and port; an origin is written like https://app.example:8443")
	}
	host, err := normalHost(u.Hostname())
	if err != nil {
		return "", err
	}
	port := ""
	if u.Port() != "" {
		n, err := strconv.Atoi(u.Port())
		if err != nil || n < 1 || n > 65535 {
			return "", errors.New("has a port that is not from 1 to 65535")
		}
		if text := strconv.Itoa(n); text != defaultPorts[scheme] {
			port = ":" + text
		}
	}
	return scheme + "://" + host + port, nil
}

// normalHost returns a host as browsers write it: an address in its canonical
// form, IPv6 in brackets, or a name in lower case and ASCII. The name may begin
// with a label *.
func normalHost(host string) (string, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		switch {
		case addr.Is4():
			return addr.String(), nil
		case addr.Zone() != "" || addr.Is4In6():
			return "", errors.New("can never match: write the address without a zone, and IPv4 as such")
		}
		return "[" + addr.String() + "]", nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	if strings.Contains(name, "*") {
		return "", errors.New("has a * that is not the first label of a domain, as in https://*.example.com")
	}
	ascii, err := idna.New(idna.MapForLookup(), idna.StrictDomainName(false)).ToASCII(name)
	if err != nil || !isDomain(strings.TrimSuffix(ascii, ".")) {
		return "", errors.New("has a host that is neither a domain name nor an address")
	}
	// A name whose last label is a number is an IPv4 address to browsers (WHATWG
	// URL §3.5), and they write it with four decimal numbers.
	labels := strings.Split(strings.TrimSuffix(ascii, "."), ".")
	if _, err := strconv.ParseUint(labels[len(labels)-1], 0, 64); err == nil || isDigits(labels[len(labels)-1]) {
		return "", errors.New("can never match: the host ends in a number, but is no IPv4 address")
	}
	if wild {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// isDomain reports whether name consists of labels (letters a to z, digits, - and _)
// separated by dots.
func isDomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }
