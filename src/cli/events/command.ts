import * as v from "valibot";
import { type Event, EventKind } from "../../api/events.ts";
import { parsed } from "../../config/schema.ts";
import { AGENT_OPTIONS, AgentClient, pathOf } from "../client.ts";
import { type CommandSpec, HELP, OUTPUT, optionsHelp, parseOptions, SWITCH } from "../options.ts";
import { print, printJson, remark, span } from "../output.ts";
import { type Colour, type Paint, paintFor } from "../table.ts";
import { followEvents } from "./stream.ts";

/** `tartan events`: the last things that happened, and what happens from now on. */

const kindsIn = (text: string) => {
  const kinds = text.split(",");
  return kinds.every((kind) => v.is(EventKind, kind)) ? text : undefined;
};

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** An id, a time, or how long ago: the agent takes the first two. */
export function sinceIn(text: string, now = Date.now()): string | undefined {
  const [, count, unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count !== undefined) return new Date(now - Number(count) * (UNITS[unit] ?? 0)).toISOString();
  return /^\d{1,15}$/.test(text) || v.is(v.pipe(v.string(), v.isoTimestamp()), text) ? text : undefined;
}

const OPTIONS = {
  follow: { short: "f", usage: "go on with what happens from now on", schema: SWITCH },
  kind: {
    value: "KIND,…",
    usage: "only these kinds, as in --kind=repaired,driftFound",
    suggestions: EventKind.options,
    schema: v.optional(parsed(kindsIn, `kinds out of ${EventKind.options.join(", ")}`)),
  },
  node: { value: "NAME", usage: "only what is about this node or lease", schema: v.optional(v.string()) },
  since: {
    value: "WHEN",
    usage: "only after this: 10m (s, m, h, d), a time in UTC, or an id",
    schema: v.optional(parsed((text) => sinceIn(text), "10m, 2026-01-31T12:00:00Z or an event's id")),
  },
  output: { ...OUTPUT, usage: "text (if not given) or json; with -f a line for each event" },
  ...AGENT_OPTIONS,
  help: HELP,
};
export const EVENTS: CommandSpec = { options: OPTIONS, args: {} };

const TEXT = `Usage: tartan events [OPTION]...

Shows the last things that happened to this node: leases that came and went,
what somebody changed in the kernel and was repaired, rules written, peers that
went down. The agent keeps them in memory. With -f it goes on, also over a
restart of the agent.

Options:
${optionsHelp(OPTIONS)}

Kinds:
${EventKind.options.map((kind) => `  ${kind}`).join("\n")}

Exit code: 0; 1 the agent refuses; 2 wrong options; 3 the agent does not answer.
`;

/** @returns the exit code @throws UsageError, AgentAwayError, Error with what the agent answers */
export async function runEvents(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const { kind, node, since, output } = options;
  const agent = new AgentClient(options);
  const paint = paintFor(process.stdout);
  if (!options.follow) {
    const list = await agent.list("events", { kind, node, since });
    if (output === "json") await printJson(list);
    else await print(list.items.map((event) => `${eventLine(event, paint)}\n`).join(""));
    return 0;
  }
  const path = pathOf("events", { kind, node, since });
  const events = followEvents({
    open: (lastId, signal) =>
      agent.request(path, {
        headers: { accept: "text/event-stream", ...(lastId === undefined ? {} : { "last-event-id": `${lastId}` }) },
        signal,
      }),
    onLost: (why) => remark(`${why}; trying again`),
    // It goes on until it is killed.
    signal: new AbortController().signal,
  });
  for await (const event of events) {
    if (!(await print(`${output === "json" ? JSON.stringify(event) : eventLine(event, paint)}\n`))) return 0;
  }
  return 0;
}

const COLOURS: Readonly<Record<Event["level"], Colour | undefined>> = {
  info: undefined,
  warning: "yellow",
  error: "red",
};

export function eventLine({ at, kind, level, node, message, times, cause, durationMs }: Event, paint: Paint): string {
  const about = node === null || message.includes(node) ? "" : `${node}: `;
  const why = cause === null || message.includes(cause) ? "" : ` (${cause})`;
  const lasted = durationMs === null ? "" : `, ${took(durationMs)}`;
  const often = times > 1 ? `, ${times} times` : "";
  const line = `${at}  ${kind.padEnd(16)}  ${about}${message}${why}${lasted}${often}`;
  const colour = COLOURS[level];
  return colour === undefined ? line : paint(colour, line);
}

function took(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : span(ms);
}
