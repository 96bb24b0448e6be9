// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package caddymodule_test

import (
	"strings"
	"testing"
)

// hop is a call of alice's with headers that are about one hop, and what has to stand on
// the provider's wire instead. Lines end with |.
type hop struct {
	name string
	sent string // behind the request line, Host and the proof
	says string
	wire string // behind the Host; BEARER is alice's, nothing else is added
	body string
	tail string // the trailer
}

const (
	plain = "User-Agent: x|Authorization: BEARER||"
	ua    = "User-Agent: x|"
)

var hops = []hop{
	{name: "no option", sent: ua + "|", says: "200", wire: plain},
	{name: "authorization", sent: ua + "Connection: authorization||", says: "200", wire: plain},
	{name: "authorization beside a placeholder", sent: ua + "Authorization: Bearer sk-x|Connection: authorization||", says: "200", wire: plain},
	{name: "x-user-id", sent: ua + "Connection: x-user-id||", says: "200", wire: plain},
	{name: "x-toolgate-key", sent: ua + "Connection: x-toolgate-key||", says: "200", wire: plain},
	{name: "all that says who", sent: ua + "Connection: X-User-Id, x-toolgate-key ,AUTHORIZATION,,x-toolkit||", says: "200", wire: plain},
	{name: "close, x-toolkit", sent: ua + "X-Toolkit: acme|Connection: close, x-toolkit||", says: "200", wire: plain},
	{name: "x-toolkit that is wrong", sent: ua + "X-Toolkit: nope|Connection: x-toolkit||", says: "400 ambiguous_toolkit"},
	{name: "host", sent: ua + "Connection: host||", says: "200", wire: plain},
	{name: "user-agent", sent: ua + "Connection: user-agent||", says: "200", wire: "User-Agent: toolgate|Authorization: BEARER||"},
	{name: "cookie", sent: ua + "Cookie: a=b|Connection: cookie||", says: "200", wire: plain},
	{name: "what is named goes", sent: ua + "X-One: 1|X-Two: 2|Connection: X-One|Connection: close||", says: "200", wire: "User-Agent: x|Authorization: BEARER|X-Two: 2||"},
	{name: "content-length", sent: ua + "Connection: content-length|Content-Length: 4||body", says: "200", wire: "User-Agent: x|Content-Length: 4|Authorization: BEARER||", body: "body"},
	{name: "transfer-encoding", sent: ua + "Connection: transfer-encoding|Transfer-Encoding: chunked||4|body|0||", says: "200", wire: "User-Agent: x|Transfer-Encoding: chunked|Authorization: BEARER||", body: "body"},
	{name: "content-type", sent: ua + "Connection: content-type|Content-Type: text/plain|Content-Length: 4||body", says: "200", wire: "User-Agent: x|Content-Length: 4|Authorization: BEARER||", body: "body"},

	{name: "Keep-Alive", sent: ua + "Keep-Alive: timeout=5|Connection: keep-alive||", says: "200", wire: plain},
	{name: "what is not named", sent: ua + "Keep-Alive: timeout=5|TE: gzip||", says: "200", wire: plain},
	{name: "Proxy-Connection", sent: ua + "Proxy-Connection: keep-alive||", says: "200", wire: plain},
	{name: "Proxy-Authorization", sent: ua + "Proxy-Authorization: Basic eDp5|Proxy-Authenticate: x||", says: "200", wire: plain},
	{name: "TE", sent: ua + "TE: gzip, deflate;q=0.5|Connection: TE||", says: "200", wire: plain},
	{name: "TE with trailers", sent: ua + "TE: gzip, trailers|Connection: TE||", says: "200", wire: "User-Agent: x|Authorization: BEARER|Te: trailers||"},
	{name: "h2c", sent: ua + "Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__||", says: "200", wire: plain},
	{name: "h2c that Connection does not name", sent: ua + "Upgrade: h2c|HTTP2-Settings: AAMAAABkAAQAAP__||", says: "200", wire: plain},
	{name: "an upgrade with a body", sent: ua + "Connection: Upgrade|Upgrade: websocket|Content-Length: 4||body", says: "200", wire: "User-Agent: x|Content-Length: 4|Authorization: BEARER||", body: "body"},
	{name: "an upgrade that is not named", sent: ua + "Upgrade: websocket||", says: "200", wire: plain},
	{name: "an upgrade that is not taken", sent: ua + "Connection: upgrade, x-user-id|Upgrade: websocket|Sec-WebSocket-Version: 13||", says: "200", wire: "User-Agent: x|Authorization: BEARER|Connection: Upgrade|Sec-Websocket-Version: 13|Upgrade: websocket||"},

	{name: "a trailer that is announced", sent: ua + "Trailer: X-Sum|" + chunks + "X-Sum: 7||", says: "200", wire: "User-Agent: x|Transfer-Encoding: chunked|Trailer: X-Sum|Authorization: BEARER||", body: "body", tail: "X-Sum: 7|"},
	{name: "a trailer that is not announced", sent: ua + chunks + "X-Sum: 7||", says: "200", wire: chunked, body: "body"},
	{name: "Authorization in the trailer", sent: ua + "Trailer: authorization|" + chunks + "Authorization: Bearer evil||", says: "200", wire: chunked, body: "body"},
	{name: "who in the trailer", sent: ua + "Trailer: X-User-Id, X-Toolgate-Key|Trailer: X-Toolkit|" + chunks + "X-User-Id: bob|X-Toolgate-Key: tgk_guessed|X-Toolkit: nope||", says: "200", wire: chunked, body: "body"},
	{name: "who in a trailer of another spelling", sent: ua + "Trailer: X_User_Id, Cookie|" + chunks + "X_User_Id: bob|Cookie: a=b||", says: "200", wire: chunked, body: "body"},
	{name: "Host in the trailer", sent: ua + "Trailer: Host|" + chunks + "Host: evil.example||", says: "200", wire: chunked, body: "body"},
	{name: "a default header in the trailer", sent: ua + "Trailer: User-Agent|" + chunks + "User-Agent: y||", says: "200", wire: chunked, body: "body"},
	{name: "what frames and routes in the trailer", sent: ua + "Trailer: Content-Type, Expect, Range, Connection, Max-Forwards, If-Match|" + chunks + "Content-Type: a/b|Expect: 100-continue|Range: bytes=0-1|Connection: close|Max-Forwards: 0|If-Match: x||", says: "200", wire: chunked, body: "body"},
	{name: "a length in the trailer, announced", sent: ua + "Trailer: Content-Length|" + chunks + "Content-Length: 9||", says: "400"},
	{name: "a length in the trailer", sent: ua + chunks + "Content-Length: 9|Host: evil.example||", says: "200", wire: chunked, body: "body"},
	{name: "a coding in the trailer, announced", sent: ua + "Trailer: Transfer-Encoding|" + chunks + "Transfer-Encoding: chunked||", says: "400"},
	{name: "a trailer that names trailers", sent: ua + "Trailer: Trailer|" + chunks + "|", says: "400"},
	{name: "a trailer without chunks", sent: ua + "Trailer: X-Sum|Content-Length: 4||body", says: "200", wire: "User-Agent: x|Content-Length: 4|Authorization: BEARER||", body: "body"},

	{name: "all proofs", sent: ua + "Authorization: Bearer sk-x|X-Api-Key: k|Proxy-Authorization: Basic eDp5|Cookie: a=b|Cookie2: a=b|X-Toolgate-Anything: x||", says: "200", wire: plain},
	{name: "all selectors", sent: ua + "X_Account: work|X-Tenant: other||", says: "200", wire: plain},
	{name: "all traces", sent: ua + "Traceparent: 00-1-2-03|Tracestate: a=b|Baggage: user=alice|B3: 1-2-1|X-B3-TraceId: 1|Uber-Trace-Id: 1|X-Amzn-Trace-Id: 1|Sentry-Trace: 1|X-Cloud-Trace-Context: 1||", says: "200", wire: plain},
	{name: "all origins", sent: ua + "X-Client-Ip: 192.0.2.1|X-Cluster-Client-Ip: 192.0.2.1|True-Client-Ip: 192.0.2.1|Cf-Connecting-Ip: 192.0.2.1|Fastly-Client-Ip: 192.0.2.1|X-Forwarded: x|X-Forwarded-Client-Cert: x||", says: "200", wire: plain},
	{name: "who stood before us", sent: ua + "X-Forwarded-For: 192.0.2.1|Forwarded: for=x|Via: 1.1 x|X-Real-Ip: 192.0.2.1|Traceparent: 00-1-2-03||", says: "200", wire: plain},
	{name: "where it should go", sent: ua + "X-Original-Url: /admin|X-Rewrite-Url: /admin|X-Forwarded-Host: evil.example||", says: "200", wire: plain},
	{name: "other spellings", sent: ua + "X_User_Id: bob|X-User_Id: bob|X.User.Id: bob|X_Toolgate_Key: x||", says: "200", wire: plain},
}

const (
	chunks  = "Transfer-Encoding: chunked||4|body|0|"
	chunked = "User-Agent: x|Transfer-Encoding: chunked|Authorization: BEARER||"
)

// Who calls is decided by what was sent, whatever else calls it hop by hop, and the
// provider gets exactly these bytes.
func TestHeadersForOneHopEndHere(t *testing.T) {
	w := newWire(t, more{})
	for _, c := range hops {
		t.Run(c.name, func(t *testing.T) {
			method := "GET"
			if c.body != "" || strings.Contains(c.sent, "chunked") {
				method = "POST"
			}
			replies, _ := w.talk(t, w.filled(method+" /acme/x HTTP/1.1\r\nHost: HOST\r\nWHO")+strings.ReplaceAll(c.sent, "|", "\r\n"))
			if len(replies) != 1 || replies[0].says() != c.says {
				t.Fatalf("%d answers, %+v", len(replies), replies)
			}
			got := w.provider.taken()
			if c.wire == "" {
				if len(got) != 0 {
					t.Errorf("there came %+v", got)
				}
				return
			}
			path := "/x"
			if strings.Contains(c.sent, "X-Toolkit: acme") {
				path = "/acme/x" // the segment did not choose, so it stays
			}
			want := method + " " + path + " HTTP/1.1\r\nHost: " + w.provider.address + "\r\n" +
				strings.NewReplacer("|", "\r\n", "BEARER", w.bearer["alice"]).Replace(c.wire)
			tail := strings.ReplaceAll(c.tail, "|", "\r\n")
			if len(got) != 1 || got[0].head != want || got[0].body != c.body || got[0].trailer != tail || got[0].fault != nil {
				t.Errorf("there came %+v\nwant %s", got, want)
			}
		})
	}
}

// Where the credential is in another header, nothing takes the proof's place.
func TestAProofEndsHereWhereTheCredentialIsElsewhere(t *testing.T) {
	t.Setenv("WEATHER_KEY", "weather-key")
	w := newWire(t, more{option: "toolkit weather {\n\t\t\tbase_url http://PROVIDER\n\t\t\tapi_key {env.WEATHER_KEY} {\n\t\t\t\theader X-Weather-Key\n\t\t\t}\n\t\t}"})
	for _, who := range []string{
		"Authorization: Bearer " + botKey, "Authorization: " + botKey, "X-Api-Key: " + botKey, "X-Toolgate-Key: " + botKey,
		"X-Toolgate-Key: " + botKey + "\r\nAuthorization: Bearer sk-x\r\nX-Api-Key: y\r\nX-Weather-Key: mine",
		"X-Toolgate-Key: " + botKey + "\r\nAuthorization: Bearer sk-x\r\nX-Api-Key: y\r\nX-Weather-Key: mine\r\nConnection: authorization, x-weather-key",
	} {
		replies, _ := w.talk(t, "GET /weather/x HTTP/1.1\r\nHost: "+w.address+"\r\nUser-Agent: x\r\nX-User-Id: alice\r\n"+who+"\r\n\r\n")
		want := "GET /x HTTP/1.1\r\nHost: " + w.provider.address + "\r\nUser-Agent: x\r\nX-Weather-Key: weather-key\r\n\r\n"
		if got := w.provider.taken(); len(replies) != 1 || len(got) != 1 || got[0].head != want {
			t.Errorf("%s: there came %+v", who, got)
		}
	}
}
