package chat_test

import (
	"strings"
	"testing"

	"github.com/toolgate/toolgate/chat"
)

// A model writes the arguments, and it writes what it was made to write.
func TestDeepJSONIsRefused(t *testing.T) {
	w := newWorld(t, func(c *chat.Config) { c.Calls = &chat.Calls{} })
	deep := strings.Repeat(`[`, 1<<20) + strings.Repeat(`]`, 1<<20)
	for name, body := range map[string]string{
		"arguments":    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"http_request","arguments":{"toolkit":"acme","method":"GET","path":"/","x":` + deep + `}}}`,
		"params":       `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + deep + `}`,
		"an id":        `{"jsonrpc":"2.0","id":` + deep + `,"method":"tools/list"}`,
		"meta":         `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"x":` + deep + `}}}`,
		"all of it":    deep,
		"of objects":   `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":` + strings.Repeat(`{"a":`, 1<<19) + `1` + strings.Repeat(`}`, 1<<19) + `}}`,
		"without ends": strings.Repeat(`[`, 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if text := bodyOf(w.post(body)); len(text) > 4000 || strings.Contains(text, `"result":{"`) && !strings.Contains(text, `"isError":true`) {
				t.Errorf("%.300s", text)
			}
		})
	}
}
