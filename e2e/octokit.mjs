// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

// An agent's program: GitHub's own SDK, told nothing but the gateway's address, the
// agent's key and the user. It prints what it got.
import { Octokit } from "@octokit/rest";

const { GATEWAY, AGENT_KEY, AGENT_USER } = process.env;
const octokit = new Octokit({ baseUrl: GATEWAY, auth: AGENT_KEY });
octokit.hook.before("request", (options) => {
  options.headers["x-user-id"] = AGENT_USER;
});

const issues = await octokit.paginate(octokit.rest.issues.listForRepo, { owner: "ada", repo: "notes", per_page: 2 });
const archive = await octokit.rest.repos.downloadTarballArchive({ owner: "ada", repo: "notes", ref: "main" });
console.log(JSON.stringify({
  titles: issues.map((issue) => issue.title),
  status: archive.status,
  archive: new TextDecoder().decode(archive.data),
}));
