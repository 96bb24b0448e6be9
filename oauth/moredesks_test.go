// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package oauth_test

import "time"

// moreDesks go on where desks ends.
var moreDesks = []desk{
	{
		name:       "hubspot",
		definition: `{"authorize_url":"https://app.hubspot.com/oauth/authorize","token_url":"https://api.hubapi.com/oauth/2026-03/token","auth_style":"body"}`,
		scopes:     []string{"oauth", "crm.objects.contacts.read"},
		authorize:  "client_id=id&response_type=code&scope=oauth crm.objects.contacts.read",
		code: sent{
			method: "POST", address: "https://api.hubapi.com/oauth/2026-03/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"token_type":"bearer","refresh_token":"r1","access_token":"a1","expires_in":1800}`,
		},
		granted: gives{"a1", "r1", "", 30 * time.Minute},
		refresh: sent{
			method: "POST", address: "https://api.hubapi.com/oauth/2026-03/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=r1",
			answer: `{"token_type":"bearer","access_token":"a2","expires_in":1800}`,
		},
		renewed: gives{"a2", "", "", 30 * time.Minute},
	},
	{
		name: "facebook",
		definition: `{"authorize_url":"https://www.facebook.com/v23.0/dialog/oauth","token_url":"https://graph.facebook.com/v23.0/oauth/access_token","auth_style":"body",
			"scope_separator":",","refresh_method":"GET","refresh_grant_type":"fb_exchange_token","refresh_token_param":"fb_exchange_token","refresh_with":"access_token",
			"reconnect_errors":["190"],"retry_errors":["2"]}`,
		scopes:    []string{"email", "pages_show_list"},
		authorize: "client_id=id&response_type=code&scope=email,pages_show_list",
		code: sent{
			method: "POST", address: "https://graph.facebook.com/v23.0/oauth/access_token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"EAA1","token_type":"bearer","expires_in":5183944}`,
		},
		granted: gives{"EAA1", "", "", 5183944 * time.Second},
		refresh: sent{
			method: "GET", address: "https://graph.facebook.com/v23.0/oauth/access_token",
			params: "client_id=id&client_secret=s&t&fb_exchange_token=EAA1&grant_type=fb_exchange_token",
			answer: `{"access_token":"EAA2","token_type":"bearer","expires_in":5183944}`,
		},
		renewed: gives{"EAA2", "", "", 5183944 * time.Second},
	},
	{
		name: "instagram",
		definition: `{"authorize_url":"https://www.instagram.com/oauth/authorize","token_url":"https://api.instagram.com/oauth/access_token","auth_style":"body",
			"scope_separator":",","pkce":false,"refresh_url":"https://graph.instagram.com/refresh_access_token","refresh_method":"GET","refresh_grant_type":"ig_refresh_token",
			"refresh_token_param":"access_token","refresh_with":"access_token","token_lifetime":"1h",
			"long_lived_url":"https://graph.instagram.com/access_token","long_lived_grant_type":"ig_exchange_token","reconnect_errors":["190"]}`,
		scopes:    []string{"instagram_business_basic"},
		authorize: "client_id=id&response_type=code&scope=instagram_business_basic",
		noPKCE:    true,
		code: sent{
			method: "POST", address: "https://api.instagram.com/oauth/access_token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&grant_type=authorization_code&" + back,
			answer: `{"access_token":"IGQ1","user_id":17841405793187218}`,
		},
		longLived: sent{
			method: "GET", address: "https://graph.instagram.com/access_token",
			params: "access_token=IGQ1&client_id=id&client_secret=s&t&grant_type=ig_exchange_token",
			answer: `{"access_token":"IGQ2","token_type":"bearer","expires_in":5183944}`,
		},
		granted: gives{"IGQ2", "", "", 5183944 * time.Second},
		refresh: sent{
			method: "GET", address: "https://graph.instagram.com/refresh_access_token",
			params: "access_token=IGQ2&client_id=id&client_secret=s&t&grant_type=ig_refresh_token",
			answer: `{"access_token":"IGQ3","token_type":"bearer","expires_in":5183944}`,
		},
		renewed: gives{"IGQ3", "", "", 5183944 * time.Second},
	},
	{
		name: "linear",
		definition: `{"authorize_url":"https://linear.app/oauth/authorize","token_url":"https://api.linear.app/oauth/token","revoke_url":"https://api.linear.app/oauth/revoke",
			"auth_style":"body","scope_separator":",","authorize_params":{"prompt":"consent"},"pkce":false}`,
		scopes:    []string{"read", "write"},
		authorize: "client_id=id&prompt=consent&response_type=code&scope=read,write",
		noPKCE:    true,
		code: sent{
			method: "POST", address: "https://api.linear.app/oauth/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&grant_type=authorization_code&" + back,
			answer: `{"access_token":"a1","token_type":"Bearer","expires_in":86399,"scope":"read write","refresh_token":"r1"}`,
		},
		granted: gives{"a1", "r1", "read write", 86399 * time.Second},
		refresh: sent{
			method: "POST", address: "https://api.linear.app/oauth/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=r1",
			answer: `{"access_token":"a2","token_type":"Bearer","expires_in":86399,"scope":["read","write"],"refresh_token":"r2"}`,
		},
		renewed: gives{"a2", "r2", "read write", 86399 * time.Second},
	},
	{
		name:       "zoom",
		definition: `{"authorize_url":"https://zoom.us/oauth/authorize","token_url":"https://zoom.us/oauth/token","revoke_url":"https://zoom.us/oauth/revoke","auth_style":"basic"}`,
		authorize:  "client_id=id&response_type=code",
		code: sent{
			method: "POST", address: "https://zoom.us/oauth/token", basic: "id:s%26t", contentType: formType,
			params: "code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"a1","token_type":"bearer","refresh_token":"r1","expires_in":3599,"scope":"user:read:user meeting:read:meeting","api_url":"https://api.zoom.us"}`,
		},
		granted: gives{"a1", "r1", "user:read:user meeting:read:meeting", 3599 * time.Second},
		refresh: sent{
			method: "POST", address: "https://zoom.us/oauth/token", basic: "id:s%26t", contentType: formType,
			params: "grant_type=refresh_token&refresh_token=r1",
			answer: `{"access_token":"a2","token_type":"bearer","refresh_token":"r2","expires_in":3599}`,
		},
		renewed: gives{"a2", "r2", "", 3599 * time.Second},
	},
	{
		name: "tiktok",
		definition: `{"authorize_url":"https://www.tiktok.com/v2/auth/authorize/","token_url":"https://open.tiktokapis.com/v2/oauth/token/","auth_style":"body",
			"client_id_param":"client_key","reconnect_errors":["10010"],"scope_separator":",","token_path":"data"}`,
		scopes:    []string{"user.info.basic", "video.list"},
		authorize: "client_key=id&response_type=code&scope=user.info.basic,video.list",
		code: sent{
			method: "POST", address: "https://open.tiktokapis.com/v2/oauth/token/", contentType: formType,
			params: "client_key=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"message":"success","data":{"access_token":"act.1","expires_in":86400,"refresh_token":"rft.1","scope":"user.info.basic,video.list","error_code":0}}`,
		},
		granted: gives{"act.1", "rft.1", "user.info.basic video.list", 24 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://open.tiktokapis.com/v2/oauth/token/", contentType: formType,
			params: "client_key=id&client_secret=s&t&grant_type=refresh_token&refresh_token=rft.1",
			answer: `{"message":"success","data":{"access_token":"act.2","expires_in":86400,"refresh_token":"rft.2"}}`,
		},
		renewed: gives{"act.2", "rft.2", "", 24 * time.Hour},
	},
	{
		name: "figma",
		definition: `{"authorize_url":"https://www.figma.com/oauth","token_url":"https://api.figma.com/v1/oauth/token","refresh_url":"https://api.figma.com/v1/oauth/refresh",
			"auth_style":"basic","scope_separator":",","pkce":false}`,
		scopes:    []string{"file_content:read", "current_user:read"},
		authorize: "client_id=id&response_type=code&scope=file_content:read,current_user:read",
		noPKCE:    true,
		code: sent{
			method: "POST", address: "https://api.figma.com/v1/oauth/token", basic: "id:s%26t", contentType: formType,
			params: "code=c1&grant_type=authorization_code&" + back,
			answer: `{"user_id_string":"1","access_token":"figu_1","token_type":"bearer","expires_in":7776000,"refresh_token":"figur_1"}`,
		},
		granted: gives{"figu_1", "figur_1", "", 90 * 24 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://api.figma.com/v1/oauth/refresh", basic: "id:s%26t", contentType: formType,
			params: "grant_type=refresh_token&refresh_token=figur_1",
			answer: `{"access_token":"figu_2","token_type":"bearer","expires_in":7776000}`,
		},
		renewed: gives{"figu_2", "", "", 90 * 24 * time.Hour},
	},
	{
		name: "zendesk",
		definition: `{"authorize_url":"https://acme.zendesk.com/oauth/authorizations/new","token_url":"https://acme.zendesk.com/oauth/tokens","auth_style":"body","body_format":"json",
			"token_params":{"expires_in":"7200","refresh_token_expires_in":"604800"},"refresh_params":{"expires_in":"3600"}}`,
		scopes:    []string{"read"},
		authorize: "client_id=id&response_type=code&scope=read",
		code: sent{
			method: "POST", address: "https://acme.zendesk.com/oauth/tokens", contentType: jsonType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&expires_in=7200&grant_type=authorization_code&" + back + "&refresh_token_expires_in=604800",
			answer: `{"access_token":"a1","refresh_token":"r1","expires_in":7200,"scope":"read"}`,
		},
		granted: gives{"a1", "r1", "read", 2 * time.Hour},
		refresh: sent{
			method: "POST", address: "https://acme.zendesk.com/oauth/tokens", contentType: jsonType,
			params: "client_id=id&client_secret=s&t&expires_in=3600&grant_type=refresh_token&refresh_token=r1",
			answer: `{"access_token":"a2","refresh_token":"r2","expires_in":3600}`,
		},
		renewed: gives{"a2", "r2", "", time.Hour},
	},
	{
		name:       "salesforce",
		definition: `{"authorize_url":"https://login.salesforce.com/services/oauth2/authorize","token_url":"https://login.salesforce.com/services/oauth2/token","auth_style":"body","token_lifetime":"90m"}`,
		scopes:     []string{"api", "refresh_token"},
		authorize:  "client_id=id&response_type=code&scope=api refresh_token",
		code: sent{
			method: "POST", address: "https://login.salesforce.com/services/oauth2/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"00D!1","refresh_token":"5Aep","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","issued_at":"1278448384422","signature":"x"}`,
		},
		granted: gives{"00D!1", "5Aep", "", 90 * time.Minute},
		refresh: sent{
			method: "POST", address: "https://login.salesforce.com/services/oauth2/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&grant_type=refresh_token&refresh_token=5Aep",
			answer: `{"access_token":"00D!2","instance_url":"https://acme.my.salesforce.com","issued_at":"1278448384422","signature":"x"}`,
		},
		renewed: gives{"00D!2", "", "", 90 * time.Minute},
	},
	{
		name: "zoho",
		definition: `{"authorize_url":"https://accounts.zoho.com/oauth/v2/auth","token_url":"https://accounts.zoho.com/oauth/v2/token","auth_style":"body",
			"scope_separator":",","authorize_params":{"access_type":"offline"},"retry_errors":["Access Denied"]}`,
		scopes:    []string{"ZohoCRM.modules.ALL"},
		authorize: "access_type=offline&client_id=id&response_type=code&scope=ZohoCRM.modules.ALL",
		code: sent{
			method: "POST", address: "https://accounts.zoho.com/oauth/v2/token", contentType: formType,
			params: "client_id=id&client_secret=s&t&code=c1&code_verifier=verifier&grant_type=authorization_code&" + back,
			answer: `{"access_token":"1000.a","refresh_token":"1000.r","api_domain":"https://www.zohoapis.com","token_type":"Bearer","expires_in":3600}`,
		},
		granted: gives{"1000.a", "1000.r", "", time.Hour},
	},
}
