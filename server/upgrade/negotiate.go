package upgrade

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"github.com/galeserver/gale/server"
)

// Prefixes of subprotocols that carry a bearer token. Scripts in a browser can set no other
// field of a WebSocket handshake. If a token has characters that are not allowed in a
// subprotocol (RFC 9110 §5.6.2), such as a slash, the client sends it as base64url without
// padding (RFC 4648 §5).
const (
	bearer        = "bearer."
	bearerEncoded = "bearer64."
)

// Bearer returns the bearer token in the subprotocols that the client offers. offered is
// false if there is none. If the token cannot be decoded, token is "" and offered is true.
//
// Accept confirms this subprotocol even if no token is required: if a browser offers
// subprotocols and none is confirmed, it closes the connection.
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

// protocols returns the subprotocols that a client offers, in its order of preference.
func protocols(h *fasthttp.RequestHeader) (offered []string) {
	for protocol := range strings.SplitSeq(server.List(h, headerProtocol), ",") {
		if protocol = strings.TrimSpace(protocol); protocol != "" {
			offered = append(offered, protocol)
		}
	}
	return offered
}

// selectProtocol returns the subprotocol to confirm: the first offered one that is
// supported, else the one that carries a token, else none.
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

// deflateExtension is the only supported extension (RFC 7692).
const deflateExtension = "permessage-deflate"

// offersDeflate reports whether the value of Sec-WebSocket-Extensions has an offer for
// compression that is supported. All other offers are declined. If there is no supported
// one, the connection has no compression (RFC 7692 §5.1, §7.1).
func offersDeflate(list string) bool {
	for _, offer := range splitUnquoted(list, ',') {
		parts := splitUnquoted(offer, ';')
		if strings.TrimSpace(parts[0]) == deflateExtension && acceptable(parts[1:]) {
			return true
		}
	}
	return false
}

// acceptable reports whether the parameters of an offer are valid and supported.
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
			// Only a hint about the window of the client. Every size can be read.
			if given && !windowBits(value) {
				return false
			}
		default:
			// This includes server_max_window_bits: the library compresses with a
			// window of 32 KiB and cannot confirm any parameter for it.
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
// Valid values need no escapes.
func unquote(text string) string {
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		return text[1 : len(text)-1]
	}
	return text
}

// splitUnquoted splits text at each separator outside of quoted strings.
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
