// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package chat

// What models are told of the tools. Schemas have no unions, no references and no formats
// that a model's API may not know.

const statuses = `["not_connected","added","pending","active","expired","insufficient_scope","inactive","revoked","error"]`

const connectionSchema = `{"type":"object","required":["toolkit","name","status"],"properties":{
	"toolkit":{"type":"string"},
	"name":{"type":"string","description":"What to call the toolkit in front of people."},
	"status":{"type":"string","enum":` + statuses + `,"description":"active: works. inactive: the user has switched it off, and only they switch it on."},
	"reason":{"type":"string","description":"Why it does not work, or agent_not_approved, or multiple_connections where an account has to be named."},
	"account":{"type":"string","description":"What the account is called."},
	"id":{"type":"string","description":"Of the connection; it can be given as account."},
	"connect_url":{"type":"string"},
	"expires_at":{"type":"string","description":"When connect_url ends, as in RFC 3339."}}}`

const accountProperty = `"account":{"type":"string","minLength":1,"maxLength":256,"description":"Which account of the toolkit, by its id, its name at the provider, or a word for one that is to be connected. Leave it out for the user's default."}`

const toolkitProperty = `"toolkit":{"type":"string","minLength":1,"maxLength":64,"description":"The toolkit's name, as list_connections gives it."}`

const toolkitsProperty = `"toolkits":{"type":"array","maxItems":64,"items":{"type":"string","minLength":1,"maxLength":64},"description":"Names of toolkits. Leave it out for all that users connect."}`

var linkTool = spec{
	title: "Get a link to connect accounts",
	description: "Checks whether the user has connected what is needed, and if not gives a link to connect it. Show connect_url to the user as a link and do not open it yourself. " +
		"The link stays the same while it lives. When the user says that they are done, call {prefix}wait_for_connection, or this tool again.",
	in: `{"type":"object","additionalProperties":false,"properties":{
	` + toolkitsProperty + `,
	` + accountProperty + `,
	"reconnect":{"type":"boolean","default":false,"description":"Give a link although it is connected, such as for another account's sign-in or for wider access."}}}`,
	out: `{"type":"object","required":["status","message","unauthenticated","connections"],"properties":{
	"status":{"type":"string","enum":["authentication_needed","fully_authenticated","no_auth_required"]},
	"message":{"type":"string"},
	"connect_url":{"type":"string"},
	"expires_at":{"type":"string","description":"As in RFC 3339."},
	"unauthenticated":{"type":"array","items":{"type":"string"},"description":"Toolkits that do not work yet."},
	"connections":{"type":"array","items":` + connectionSchema + `}}}`,
	hints: hints{idempotent: true},
}

var listTool = spec{
	title:       "List connected accounts",
	description: "Lists how the user's connections stand. A user may have several accounts of a toolkit. It changes nothing, and gives no links.",
	in:          `{"type":"object","additionalProperties":false,"properties":{` + toolkitsProperty + `}}`,
	out:         `{"type":"object","required":["connections"],"properties":{"connections":{"type":"array","items":` + connectionSchema + `}}}`,
	hints:       hints{readOnly: true, idempotent: true},
}

const standingOut = `{"type":"object","required":["toolkit","status","message"],"properties":{
	"toolkit":{"type":"string"},
	"status":{"type":"string","enum":` + statuses + `},
	"reason":{"type":"string"},
	"message":{"type":"string"}}}`

var waitTool = spec{
	title:       "Wait until an account is connected",
	description: "Waits until the user has connected a toolkit, and returns at once where they have. Call it after the user was shown a link; call it again if the status is not active yet and the user is still on the way.",
	in: `{"type":"object","additionalProperties":false,"required":["toolkit"],"properties":{
	` + toolkitProperty + `,
	` + accountProperty + `,
	"timeout_seconds":{"type":"integer","minimum":1,"maximum":25,"default":25}}}`,
	out:   standingOut,
	hints: hints{readOnly: true, idempotent: true},
}

var disconnectTool = spec{
	title:       "Disconnect an account",
	description: "Takes the user's connection to a toolkit away, for all agents that use it. Ask the user first.",
	in: `{"type":"object","additionalProperties":false,"required":["toolkit"],"properties":{
	` + toolkitProperty + `,
	` + accountProperty + `}}`,
	out:   standingOut,
	hints: hints{destructive: true, idempotent: true, openWorld: true},
}

var requestTool = spec{
	title: "Call a toolkit's API",
	description: "Sends an HTTP request to a toolkit's API with the user's access, which is put on it on the way: send no credentials. " +
		"Where the user has to connect first, the status is authentication_needed and there is a link to show. Answers are cut at 1 MiB.",
	in: `{"type":"object","additionalProperties":false,"required":["toolkit","method","path"],"properties":{
	` + toolkitProperty + `,
	"method":{"type":"string","enum":["GET","HEAD","POST","PUT","PATCH","DELETE","OPTIONS"]},
	"path":{"type":"string","pattern":"^/","maxLength":8192,"description":"Of the API, such as /user/repos, without scheme and host. It may have a query."},
	"query":{"type":"object","additionalProperties":{"type":"string"},"description":"Parameters to put into the query, not escaped."},
	"headers":{"type":"object","additionalProperties":{"type":"string"},"description":"Such as Accept or If-Match. Those that say who calls, and credentials, are left out."},
	"body":{"type":"string","description":"Up to 1 MiB. It is sent as application/json if it is JSON and no Content-Type is given."},
	` + accountProperty + `}}`,
	out: `{"type":"object","required":["status"],"properties":{
	"status":{"type":"string","enum":["called","authentication_needed"]},
	"message":{"type":"string"},
	"connect_url":{"type":"string"},
	"expires_at":{"type":"string","description":"As in RFC 3339."},
	"http_status":{"type":"integer"},
	"headers":{"type":"object","additionalProperties":{"type":"string"}},
	"mime_type":{"type":"string"},
	"body":{"type":"string"},
	"body_base64":{"type":"string","description":"In place of body where the answer is not text."},
	"truncated":{"type":"boolean","description":"There is more than this; message says why."},
	"headers_left_out":{"type":"array","items":{"type":"string"},"description":"Headers of the request that were not sent."}}}`,
	hints: hints{destructive: true, openWorld: true},
}
