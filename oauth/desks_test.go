// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import "time"

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	back     = "redirect_uri=" + callback
)

// desks are providers whose ways differ. The answers are cut down to what matters.
var desks = []desk{
	{
		name:      "github",
		scopes:    []string{"repo", "read:user"},
		authorize: "client_id=id&response_type=code&scope=repo read:user",
		code: sent{
			method: "POST", address: "https://github.com/login/oauth/access_token", contentType: formType, header: map[string]string{"Accept": jsonType},
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"ghu_1","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15897600,"scope":"repo,read:user","token_type":"bearer"}`,
		},
		granted: gives{"ghu_1", "ghr_1", "repo read:user", 8 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://github.com/login/oauth/access_token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=ghr_1",
			answer: `{"access_token":"ghu_2","expires_in":28800,"refresh_token":"ghr_2","scope":"","token_type":"bearer"}`,
		},
		renewed: gives{"ghu_2", "ghr_2", "", 8 * time.Hour},
	},
	{
		name:      "gitlab",
		scopes:    []string{"api", "read_user"},
		authorize: "client_id=id&response_type=code&scope=api read_user",
		code: sent{
			method: "POST", address: "https://gitlab.com/oauth/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"a1","token_type":"bearer","expires_in":7200,"refresh_token":"r1","created_at":1607635748}`,
		},
		granted: gives{"a1", "r1", "", 2 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://gitlab.com/oauth/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=r1",
			answer: `{"access_token":"a2","token_type":"bearer","expires_in":7200,"refresh_token":"r2"}`,
		},
		renewed: gives{"a2", "r2", "", 2 * time.Hour},
	},
	{
		name: "slack",
		definition: `{"authorize_url":"https://slack.com/oauth/v2/authorize","token_url":"https://slack.com/api/oauth.v2.access","auth_style":"body",
			"scope_separator":",","scope_param":"user_scope","token_path":"authed_user","pkce":false}`,
		scopes:    []string{"search:read", "users:read"},
		authorize: "client_id=id&response_type=code&user_scope=search:read,users:read",
		noPKCE:    true,
		code: sent{
			method: "POST", address: "https://slack.com/api/oauth.v2.access", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&grant_type=authorization_code&" + back,
			answer: `{"ok":true,"access_token":"xoxb-1","token_type":"bot","refresh_token":"bot-r","expires_in":1,"scope":"chat:write","authed_user":
				{"id":"U1","scope":"search:read,users:read","access_token":"xoxp-1","token_type":"user","refresh_token":"xoxe-1","expires_in":43200}}`,
		},
		granted: gives{"xoxp-1", "xoxe-1", "search:read users:read", 12 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://slack.com/api/oauth.v2.access", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=xoxe-1",
			answer: `{"ok":true,"access_token":"xoxp-2","refresh_token":"xoxe-2","expires_in":43200,"token_type":"user"}`, // all of it is for that token
		},
		renewed: gives{"xoxp-2", "xoxe-2", "", 12 * time.Hour},
	},
	{
		name: "notion",
		definition: `{"authorize_url":"https://api.notion.com/v1/oauth/authorize","token_url":"https://api.notion.com/v1/oauth/token","auth_style":"basic",
			"body_format":"json","authorize_params":{"owner":"user"},"token_headers":{"Notion-Version":"2022-06-28"}}`,
		authorize: "client_id=id&owner=user&response_type=code",
		code: sent{
			method: "POST", address: "https://api.notion.com/v1/oauth/token", basic: "id:s%26t", contentType: jsonType, header: map[string]string{"Notion-Version": "2022-06-28"},
			params: "code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"ntn_1","token_type":"bearer","refresh_token":"nrt_1","workspace_id":"w","owner":{"type":"user","user":{"id":"u"}},"request_id":"x"}`,
		},
		granted: gives{"ntn_1", "nrt_1", "", 0},
		refresh: sent{
			method: "POST", address: "https://api.notion.com/v1/oauth/token", basic: "id:s%26t", contentType: jsonType, header: map[string]string{"Notion-Version": "2022-06-28"},
			params: "grant_type=refresh_token&refresh_token=nrt_1",
			answer: `{"access_token":"ntn_2","token_type":"bearer","refresh_token":"nrt_2"}`,
		},
		renewed: gives{"ntn_2", "nrt_2", "", 0},
	},
	{
		name: "jira",
		definition: `{"authorize_url":"https://auth.atlassian.com/authorize","token_url":"https://auth.atlassian.com/oauth/token","auth_style":"body","body_format":"json",
			"authorize_params":{"audience":"api.atlassian.com","prompt":"consent"},"reconnect_errors":["unauthorized_client"]}`,
		scopes:    []string{"read:jira-work", "offline_access"},
		authorize: "audience=api.atlassian.com&client_id=id&prompt=consent&response_type=code&scope=read:jira-work offline_access",
		code: sent{
			method: "POST", address: "https://auth.atlassian.com/oauth/token", contentType: jsonType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"a1","refresh_token":"r1","expires_in":3600,"scope":"read:jira-work offline_access"}`,
		},
		granted: gives{"a1", "r1", "read:jira-work offline_access", time.Hour},
		refresh: sent{
			method: "POST", address: "https://auth.atlassian.com/oauth/token", contentType: jsonType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=r1",
			answer: `{"access_token":"a2","refresh_token":"r2","expires_in":3600}`,
		},
		renewed: gives{"a2", "r2", "", time.Hour},
	},
	{
		name: "microsoft",
		definition: `{"authorize_url":"https://login.microsoftonline.com/common/oauth2/v2.0/authorize","token_url":"https://login.microsoftonline.com/common/oauth2/v2.0/token",
			"auth_style":"body","authorize_params":{"response_mode":"query"},"refresh_scope":true}`,
		scopes:    []string{"Mail.Read", "offline_access"},
		authorize: "client_id=id&response_mode=query&response_type=code&scope=Mail.Read offline_access",
		code: sent{
			method: "POST", address: "https://login.microsoftonline.com/common/oauth2/v2.0/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"token_type":"Bearer","scope":"Mail.Read","expires_in":3736,"ext_expires_in":3736,"access_token":"a1","refresh_token":"r1"}`,
		},
		granted: gives{"a1", "r1", "Mail.Read", 3736 * time.Second},
		refresh: sent{
			method: "POST", address: "https://login.microsoftonline.com/common/oauth2/v2.0/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=r1&scope=Mail.Read offline_access",
			answer: `{"token_type":"Bearer","scope":"Mail.Read","expires_in":3736,"access_token":"a2","refresh_token":"r2"}`,
		},
		renewed: gives{"a2", "r2", "Mail.Read", 3736 * time.Second},
	},
	{
		name: "gmail",
		definition: `{"authorize_url":"https://accounts.google.com/o/oauth2/v2/auth","token_url":"https://oauth2.googleapis.com/token","revoke_url":"https://oauth2.googleapis.com/revoke",
			"auth_style":"body","authorize_params":{"access_type":"offline","prompt":"consent"}}`,
		scopes:    []string{"https://www.googleapis.com/auth/gmail.readonly", "https://www.googleapis.com/auth/gmail.send"},
		authorize: "access_type=offline&client_id=id&prompt=consent&response_type=code&scope=https://www.googleapis.com/auth/gmail.readonly https://www.googleapis.com/auth/gmail.send",
		code: sent{
			method: "POST", address: "https://oauth2.googleapis.com/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"ya29.1","expires_in":3599,"refresh_token":"1//r","scope":"https://www.googleapis.com/auth/gmail.readonly","token_type":"Bearer"}`,
		},
		granted: gives{"ya29.1", "1//r", "https://www.googleapis.com/auth/gmail.readonly", 3599 * time.Second},
		refresh: sent{
			method: "POST", address: "https://oauth2.googleapis.com/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=1//r",
			answer: `{"access_token":"ya29.2","expires_in":3599,"scope":"https://www.googleapis.com/auth/gmail.readonly","token_type":"Bearer"}`,
		},
		renewed: gives{"ya29.2", "", "https://www.googleapis.com/auth/gmail.readonly", 3599 * time.Second},
	},
}
