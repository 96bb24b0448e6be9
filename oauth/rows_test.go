// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/toolgate/toolgate/oauth"
	"github.com/toolgate/toolgate/secret"
	"github.com/toolgate/toolgate/toolkit"
)

// row is what one provider's endpoint says, and what is made of it.
type row struct {
	of   string // the desk whose dialect is spoken; "": the standards'
	code bool   // the exchange of a code, and not a refresh
	says string // "status type body", the body alone with 200 and JSON
	// is "token", or what becomes of the grant: "ends", "client" (the operator's is
	// refused), "passes, unspent" or, where nobody knows, "lost".
	is   string
	give gives // for token
}

// What the endpoints of notes say on a bad day, by the number of the row.
var rows = map[string][]row{
	"1 Slack": {
		{of: "slack", says: `{"ok":false,"error":"invalid_refresh_token"}`, is: "ends"},
		{of: "slack", code: true, says: `{"ok":false,"error":"code_already_used"}`, is: "ends"},
		{of: "slack", says: `{"ok":false,"error":"bad_client_secret"}`, is: "client"},
		{of: "slack", says: `{"ok":false,"error":"ratelimited"}`, is: "passes, unspent"},
		{of: "slack", says: `{"ok":true,"access_token":"xoxb-bot"}`, code: true, is: "lost"},
		{says: `{"ok":true,"authed_user":{"access_token":"u","refresh_token":"r","expires_in":43200,"scope":"a,b"}}`, is: "token", give: gives{"u", "r", "a b", 12 * time.Hour}},
	},
	"2 GitHub OAuth app": {
		{of: "github", code: true, says: `{"error":"bad_verification_code","error_description":"hunter2"}`, is: "ends"},
		{of: "github", code: true, says: `{"error":"incorrect_client_credentials"}`, is: "client"},
		{of: "github", code: true, says: "200 application/x-www-form-urlencoded access_token=gho_1&scope=repo%2Cgist&token_type=bearer", is: "token", give: gives{"gho_1", "", "repo gist", 0}},
		{of: "github", code: true, says: "200 application/x-www-form-urlencoded error=bad_verification_code&error_uri=x", is: "ends"},
	},
	"3 GitHub App": {
		{of: "github", says: `{"error":"bad_refresh_token"}`, is: "ends"},
		{of: "github", says: `{"access_token":"ghu_2","expires_in":28800,"refresh_token":"ghr_2"}`, is: "token", give: gives{"ghu_2", "ghr_2", "", 8 * time.Hour}},
	},
	"4 Atlassian": {
		{of: "jira", says: `403 application/json {"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`, is: "ends"},
		{of: "jira", says: `403 application/json {"error":"unauthorized_client","error_description":"refresh_token is invalid"}`, is: "ends"},
		{of: "jira", code: true, says: `401 application/json {"error":"unauthorized_client"}`, is: "client"},
		{says: `403 application/json {"error":"unauthorized_client"}`, is: "client"},
	},
	"5 Google": {
		{of: "gmail", says: `400 application/json {"error":"invalid_grant","error_description":"Token has been expired or revoked."}`, is: "ends"},
		{of: "gmail", says: `{"access_token":"a","expires_in":3599}`, is: "token", give: gives{"a", "", "", 3599 * time.Second}},
	},
	"6 Notion": {
		{of: "notion", says: `400 application/json {"object":"error","status":400,"code":"x","error":"invalid_grant"}`, is: "ends"},
		{of: "notion", says: `401 application/json {"error":"invalid_client"}`, is: "client"},
	},
	"7 Salesforce": {
		{of: "salesforce", says: `400 application/json {"error":"invalid_grant","error_description":"expired access/refresh token"}`, is: "ends"},
		{says: `{"access_token":"a","issued_at":"1278448384422","instance_url":"https://x"}`, is: "token", give: gives{"a", "", "", 0}},
	},
	"8 Microsoft": {
		{of: "microsoft", says: `400 application/json {"error":"invalid_grant","error_codes":[70008],"suberror":"bad_token","error_description":"AADSTS70008"}`, is: "ends"},
		{of: "microsoft", says: `400 application/json {"error":"interaction_required","error_codes":[50076]}`, is: "ends"},
		{of: "microsoft", says: `401 application/json {"error":"invalid_client","error_codes":[7000215]}`, is: "client"},
		{of: "microsoft", says: `400 application/json {"error":"invalid_request","error_codes":[90009]}`, is: "client"},
	},
	"9 HubSpot": {
		{of: "hubspot", says: `400 application/json {"status":"BAD_REFRESH_TOKEN","message":"hunter2"}`, is: "ends"},
		{of: "hubspot", code: true, says: `400 application/json {"status":"BAD_AUTH_CODE","message":"x"}`, is: "ends"},
		{of: "hubspot", says: `400 application/json {"status":"error","message":"x"}`, is: "passes, unspent"},
		{of: "hubspot", says: `{"status":"BAD_REFRESH_TOKEN","access_token":"a"}`, is: "token", give: gives{"a", "", "", 0}},
	},
	"10 Facebook": {
		{of: "facebook", says: `400 application/json {"error":{"message":"hunter2","type":"OAuthException","code":190,"fbtrace_id":"x"}}`, is: "ends"},
		{of: "facebook", says: `400 application/json {"error":{"message":"x","type":"OAuthException","code":2}}`, is: "passes, unspent"},
		{of: "facebook", says: `400 application/json {"error":{"message":"x","type":"OAuthException","code":101}}`, is: "client"},
		{of: "facebook", says: `{"access_token":"a","token_type":"bearer","expires_in":5183944}`, is: "token", give: gives{"a", "", "", 5183944 * time.Second}},
	},
	"10 Instagram": {
		{of: "instagram", says: `400 application/json {"error":{"message":"x","type":"IGApiException","code":190}}`, is: "ends"},
	},
	"11 Linear": {
		{of: "linear", says: `400 application/json {"error":"invalid_grant"}`, is: "ends"},
		{of: "linear", says: `{"access_token":"a","refresh_token":"r","expires_in":86399,"scope":["read","write"]}`, is: "token", give: gives{"a", "r", "read write", 86399 * time.Second}},
	},
	"12 Zoom": {
		{of: "zoom", says: `400 application/json {"reason":"Invalid Token!","error":"invalid_grant"}`, is: "ends"},
		{of: "zoom", says: `401 application/json {"reason":"Invalid client_id or client_secret","error":"invalid_client"}`, is: "client"},
	},
	"13 PayPal-like": {
		{says: `{"access_token":"a","expires_in":"3600"}`, is: "token", give: gives{"a", "", "", time.Hour}},
		{says: `{"access_token":"a","expires_in":3600.0}`, is: "token", give: gives{"a", "", "", time.Hour}},
		{says: `{"access_token":"a","expires_in":"3599.5"}`, is: "token", give: gives{"a", "", "", 3599 * time.Second}},
		{says: `{"access_token":"a","expires_in":""}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","expires_in":0}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","expires_in":-1}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a"}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","expires_in":99999999999999999999}`, is: "token", give: gives{"a", "", "", 10 * 365 * 24 * time.Hour}},
	},
	"14 TikTok-like": {
		{of: "tiktok", says: `{"data":{"access_token":"a","refresh_token":"r","expires_in":60},"message":"success"}`, is: "token", give: gives{"a", "r", "", time.Minute}},
		{of: "tiktok", says: `{"data":{"error":"invalid_grant"},"message":"error"}`, is: "ends"},
		{of: "tiktok", says: `{"data":{"error_code":10010,"description":"hunter2"},"message":"error"}`, is: "ends"},
		{of: "tiktok", says: `{"data":{"error_code":"10002"},"message":"error"}`, is: "client"},
		{of: "tiktok", says: `{"data":{"access_token":"a","error_code":"0"},"message":"success"}`, is: "token", give: gives{"a", "", "", 0}},
		{of: "tiktok", says: `{"error_code":10010}`, is: "ends"},
		{says: `{"data":{"access_token":"a","refresh_token":"r"}}`, is: "token", give: gives{"a", "r", "", 0}},
	},
	"17 Figma": {
		{of: "figma", says: `{"access_token":"a","expires_in":7776000,"token_type":"bearer"}`, is: "token", give: gives{"a", "", "", 90 * 24 * time.Hour}},
	},
	"18 any": {
		{says: `200 text/html {"access_token":"a","refresh_token":"r"}`, is: "token", give: gives{"a", "r", "", 0}},
		{says: `200 text/plain {"access_token":"a","token_type":7}`, is: "token", give: gives{"a", "", "", 0}},
		{says: "200 application/json \ufeff{\"access_token\":\"a\",\"token_type\":\"Odd\"}", is: "token", give: gives{"a", "", "", 0}},
		{says: "502 text/html <html>hunter2</html>", is: "lost"},
		{says: "503 text/html <html>hunter2</html>", is: "passes, unspent"},
		{says: "429 text/html <html>hunter2</html>", is: "passes, unspent"},
		{says: `429 application/json {"error":"a_word_of_theirs"}`, is: "passes, unspent"},
		{says: "200 text/plain access_token=a&x=" + strings.Repeat("x", 1<<20), is: "lost"},
		{says: "307 text/html <html>hunter2</html>", is: "passes, unspent"},
		{says: "200 text/html <html>hunter2</html>", is: "lost"},
		{says: `{"access_token":"a","x":"` + strings.Repeat("x", 1<<20) + `"}`, is: "lost"},
		{says: `{"access_token":"bell\u0007"}`, is: "lost"},
		{says: `{"access_token":"a","refresh_token":"bell\u0007"}`, is: "token", give: gives{"a", "bell\u0007", "", 0}},
		{says: `{"access_token":"a\n","refresh_token":"r\r\n"}`, is: "token", give: gives{"a", "r", "", 0}},
		{says: "access_token=a%0A&refresh_token=r&scope=100%", is: "token", give: gives{"a", "r", "", 0}},
		{says: `{"access_token":"a","error":{}}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","error":[]}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","error":{"code":"ok","message":""}}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","error":{"code":0}}`, is: "token", give: gives{"a", "", "", 0}},
		{says: `{"access_token":"a","error":"something_new"}`, is: "lost"},
		{says: `{"access_token":"a","error":"invalid_grant"}`, is: "ends"},
		{says: `{"access_token":"` + strings.Repeat("a", 33<<10) + `"}`, is: "lost"},
		{says: `{"access_token":"a","scope":"good b\u0007ad"}`, is: "token", give: gives{"a", "", "good", 0}},
	},
	"21 Zoho-like": {
		{of: "zoho", says: `{"error":"invalid_code"}`, is: "ends"},
		{of: "zoho", says: `400 application/json {"error":"Access Denied","error_description":"You have made too many requests continuously."}`, is: "passes, unspent"},
		{of: "zoho", says: `{"access_token":"1000.a","api_domain":"https://www.zohoapis.com","token_type":"Bearer","expires_in":3600}`, is: "token", give: gives{"1000.a", "", "", time.Hour}},
	},
}

// Rows 15 and 16 are about the callback and about calls: connect and toolkit have them.
// Rows 3, 19 and 20, where a token is spent and the answer lost, or spent twice, are the
// token cache's.
func TestEveryRowIsReadAsItIsMeant(t *testing.T) {
	for name, list := range rows {
		for _, r := range list {
			status, kind, text := r.parts()
			o := &toolkit.OAuth2{AuthStyle: toolkit.StyleBody}
			if r.of != "" {
				d := deskOf(r.of)
				o = d.toolkit(t)
			}
			o.TokenURL, o.RefreshURL = "https://id.example/token", ""
			requests := 0
			client := &oauth.Client{Now: func() time.Time { return now }, Transport: transport(func(*http.Request) (*http.Response, error) {
				requests++
				header := http.Header{"Content-Type": {kind}, "Location": {"https://elsewhere.example"}}
				return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(text))}, nil
			})}
			var g oauth.Grant
			var err error
			if r.code {
				g, err = client.Exchange(t.Context(), o, "c1", "v", callback)
			} else {
				g, err = client.Refresh(t.Context(), o, secret.New(refreshToken))
			}
			if got := outcome(err); got != r.is || requests != 1 {
				t.Errorf("%s: %s: %s in %d requests, want %s (%v)", name, cut(r.says), got, requests, r.is, err)
			}
			if r.is == "token" {
				r.give.compare(t, name+": "+cut(r.says), g, err)
			} else {
				noSecrets(t, name, err)
			}
		}
	}
}

func (r row) parts() (status int, kind, text string) {
	if fields := strings.SplitN(r.says, " ", 3); len(fields) == 3 && len(fields[0]) == 3 && strings.Trim(fields[0], "0123456789") == "" {
		for _, digit := range fields[0] {
			status = 10*status + int(digit-'0')
		}
		return status, fields[1], fields[2]
	}
	return 200, jsonType, r.says
}

func outcome(err error) string {
	if no, ok := errors.AsType[*oauth.Refused](err); ok {
		if no.Grant() {
			return "ends"
		}
		return "client"
	}
	if away, ok := errors.AsType[*oauth.Unavailable](err); ok {
		if away.Unspent {
			return "passes, unspent"
		}
		return "lost"
	}
	if err != nil {
		return err.Error()
	}
	return "token"
}

func cut(text string) string { return text[:min(len(text), 120)] }
