// SPDX-FileCopyrightText: The Toolgate authors
// SPDX-License-Identifier: Apache-2.0

package redisstore

import (
	"crypto/rand"

	"github.com/redis/go-redis/v9"
)

// Each script has one key, or two in one slot, and changes nothing when it is run a
// second time with the same arguments. Versions are compared as texts, because Lua's
// numbers end at 2^53.

// withClock makes `now`, in milliseconds, of the first argument or the server's clock.
const withClock = `
local now = tonumber(ARGV[1])
if not now then
	local t = redis.call('TIME')
	now = t[1] * 1000 + math.floor(t[2] / 1000)
end
`

// marks are those of the last writes, the newest first. A write that is sent again
// finds its own among them although somebody else has written meanwhile, or deleted:
// then the hash holds nothing else for a minute. Without this it would read as a
// conflict, though it was done, or bring back what was deleted.
const marks = `
local function marked(before)
	return string.sub(ARGV[2] .. (before or ''), 1, 12 * 32)
end
local function bury(before)
	redis.call('DEL', KEYS[1])
	redis.call('HSET', KEYS[1], 't', marked(before))
	redis.call('PEXPIRE', KEYS[1], 60000)
end
`

// markSize is the length of one; the scripts know it.
const markSize = 12

func newMark() string { return rand.Text()[:markSize] }

// The change is told from within the script: told by the gateway afterwards, it
// would be lost with a gateway that dies in between. pcall, because an ACL that
// forbids it must not make a write look as if it had failed.
//
//	ARGV: now, mark, version before, version, value, expires, terms, channel, name
//	gives {1, the terms before} or {0, the terms that stand}
var putScript = redis.NewScript(withClock + marks + `
local is = redis.call('HMGET', KEYS[1], 'v', 'e', 't', 'x')
local terms = is[4] or ''
local past = is[1] and (is[2] or '') ~= '' and tonumber(is[2]) <= now
if is[3] and string.find(is[3], ARGV[2], 1, true) then
	return {'1', ''}
end
local stands = '0'
if is[1] and not past then
	stands = is[1]
end
if stands ~= ARGV[3] then
	return {'0', past and '' or terms}
end
local expires = tonumber(ARGV[6])
if expires and expires <= now then
	bury(is[3])
else
	redis.call('HSET', KEYS[1], 'v', ARGV[4], 't', marked(is[3]), 'd', ARGV[5], 'e', ARGV[6], 'x', ARGV[7])
	if expires and expires < 1e15 then
		redis.call('PEXPIREAT', KEYS[1], ARGV[6])
	else
		redis.call('PERSIST', KEYS[1])
	end
end
redis.pcall('PUBLISH', ARGV[8], ARGV[9])
return {'1', terms}
`)

const (
	deleteAbsent = 0
	deleteOther  = 2
)

// ARGV: now, mark, mark of the record, channel, name
var deleteScript = redis.NewScript(withClock + marks + `
local is = redis.call('HMGET', KEYS[1], 'v', 'e', 't')
if is[3] and string.find(is[3], ARGV[2], 1, true) then
	return 1
end
if not is[1] or ((is[2] or '') ~= '' and tonumber(is[2]) <= now) then
	return 0
end
if string.sub(is[3] or '', 1, 12) ~= ARGV[3] then
	return 2
end
bury(is[3])
redis.pcall('PUBLISH', ARGV[4], ARGV[5])
return 1
`)

// A lease is a hash {t: mark of its holder, u: until, f: fence}. The fence goes on
// from the one before and never falls behind the time in microseconds, so that it
// grows although the hash is forgotten a week after its last lease.
//
//	ARGV: now, mark, time to live in milliseconds
//	gives the fence, or nothing where somebody else holds it
var leaseScript = redis.NewScript(withClock + `
local is = redis.call('HMGET', KEYS[1], 't', 'u', 'f')
if is[1] == ARGV[2] then
	return is[3]
end
if (is[1] or '') ~= '' and tonumber(is[2]) > now then
	return ''
end
local fence = string.format('%.0f', math.max(tonumber(is[3] or '0') + 1, now * 1000))
local untl = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 't', ARGV[2], 'u', untl, 'f', fence)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]) + 604800000)
return fence
`)

// ARGV: mark
var releaseScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 't') == ARGV[1] then
	redis.call('HSET', KEYS[1], 't', '')
	return 1
end
return 0
`)

// These two run in pipelines, where there is no second try with the text after
// NOSCRIPT; they are short enough to be sent whole.

// announceScript enters a key into a term's index and notes that this is recent.
//
//	KEYS: the index, the note   ARGV: key, life of the note in milliseconds
const announceScript = `redis.call('SET', KEYS[2], '1', 'PX', ARGV[2]) return redis.call('ZADD', KEYS[1], 0, ARGV[1])`

// forgetScript takes a key out of a term's index, unless it was announced recently:
// its writer may be about to write the record.
//
//	KEYS: the index, the note   ARGV: key
const forgetScript = `if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end redis.call('ZREM', KEYS[1], ARGV[1]) return 1`
