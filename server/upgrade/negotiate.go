package upgrade

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Subprotocols that carry a bearer token: a browser can set no other field of a
// WebSocket's handshake. A token that is none in the sense of RFC 9110 §5.6.2, such
// as one with a slash, comes as base64url without padding (RFC 4648 §5).
const (
	bearer        = "bearer."
	bearerEncoded = "bearer64."
)

// Bearer returns the bearer token that is offered as a subprotocol. It is "" with
// offered set if what is offered cannot be decoded. Accept confirms the subprotocol
// whether anybody has asked for a token or not, since browsers fail a connection of
// which no offered subprotocol is confirmed.
func Bearer(h *fasthttp.RequestHeader) (token string, offered bool) {
	for _, protocol := range protocols(h) {
		if !carriesToken(protocol) {
			continue
		}
		token, plain := strings.CutPrefix(protocol, bearer)
		if plain {
			return token, true
		}
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(protocol, bearerEncoded))
		if err != nil {
			return "", true
		}
		return string(decoded), true
	}
	return "", false
}

func carriesToken(protocol string) bool {
	return strings.HasPrefix(protocol, bearer) || strings.HasPrefix(protocol, bearerEncoded)
}

// protocols are the subprotocols that a client offers, in its order of preference.
func protocols(h *fasthttp.RequestHeader) (offered []string) {
	for protocol := range strings.SplitSeq(server.List(h, headerProtocol), ",") {
		if protocol = strings.TrimSpace(protocol); protocol != "" {
			offered = append(offered, protocol)
		}
	}
	return offered
}

// choose returns the subprotocol to confirm: the first offered one that is spoken
// here, else the one that carries a token, else none.
func selectProtocol(offered, supported []string) string {
	for _, protocol := range offered {
		if slices.Contains(supported, protocol) {
			return protocol
		}
	}
	if i := slices.IndexFunc(offered, carriesToken); i >= 0 {
		return offered[i]
	}
	return ""
}

// deflateExtension is RFC 7692, the only extension spoken here.
const deflateExtension = "permessage-deflate"

// offersDeflate reports whether one of the offers in a Sec-WebSocket-Extensions is for
// compression in a way that is spoken here. The others are declined, which leaves the
// connection without compression (RFC 7692 §5.1, §7.1).
func offersDeflate(list string) bool {
	for _, offer := range splitUnquoted(list, ',') {
		parts := splitUnquoted(offer, ';')
		if strings.TrimSpace(parts[0]) == deflateExtension && acceptable(parts[1:]) {
			return true
		}
	}
	return false
}

// honours reports whether the parameters of an offer are sound, and all of them can
// be honoured.
func acceptable(parameters []string) bool {
	seen := map[string]bool{}
	for _, parameter := range parameters {
		name, value, given := strings.Cut(parameter, "=")
		name, value = strings.TrimSpace(name), unquote(strings.TrimSpace(value))
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if given {
				return false
			}
		case "client_max_window_bits":
			// A hint about the client's own window. The reader here takes any.
			if given && !windowBits(value) {
				return false
			}
		default:
			// Also server_max_window_bits: the library compresses with a window
			// of 32 KiB and cannot confirm another, nor this one.
			return false
		}
	}
	return true
}

// windowBits reports whether text is a number from 8 to 15, without leading zeros.
func windowBits(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 8 && n <= 15 && strconv.Itoa(n) == text
}

// unquote returns the content of a quoted string (RFC 9110 §5.6.4), or text itself.
// Nothing in a value that is sound needs an escape.
func unquote(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return text[1 : len(text)-1]
	}
	return text
}

// splitUnquoted cuts text at each separator outside of quoted strings.
func splitUnquoted(text string, separator byte) (parts []string) {
	start, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}
