import type { Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import * as v from "valibot";
import { LogLevel, type ResyncAsked } from "../api/commands.ts";
import { RESOURCES, type Resource, type ResourceName } from "../api/resources.ts";
import { sleep } from "../base/backoff.ts";
import type { ListenAddress } from "../config/listen-address.ts";
import { answer } from "./answer.ts";
import type { AgentControl } from "./control.ts";
import { eventStream } from "./event-stream.ts";
import type { Facts } from "./facts.ts";
import { type Question, readQuery } from "./question.ts";
import { Refusal } from "./refusals.ts";
import { Turns } from "./turns.ts";
import { eventFilter } from "./views/events.ts";
import { VIEWS } from "./views.ts";

export interface DebugParts {
  readonly facts: () => Facts;
  /** for commands; undefined: they are refused */
  readonly control?: AgentControl;
  /** where the app is served */
  readonly address: ListenAddress;
  /** ends live streams */
  readonly stopping: AbortSignal;
}

/** Live streams at a time; each costs a timer and, at worst, half a megabyte. */
const MOST_STREAMS = 16;
/** Of lists: those that are made at a time, and those that may wait for that. */
const LISTS_AT_ONCE = 2;
const LISTS_WAITING = 200;
/** What says nothing without the kernel's state, for which it waits so many milliseconds, looking each few. */
const NEED_KERNEL: readonly ResourceName[] = ["kernel", "diff"];
const KERNEL_MS = 2_000;
const LOOK_MS = 10;
/** bytes */
const MOST_BODY = 4096;

/** Everything that can be read. */
export function addResources(app: Hono, { facts, stopping }: DebugParts): void {
  let streams = 0;
  const lists = new Turns(LISTS_AT_ONCE, LISTS_WAITING);
  for (const name of Object.keys(RESOURCES) as ResourceName[]) {
    const resource: Resource = RESOURCES[name];
    app.get(resource.path, async (context) => {
      const question = questionOf(context, resource);
      if (name === "events" && wantsStream(context, question)) {
        if (streams >= MOST_STREAMS)
          throw new Refusal(503, `${MOST_STREAMS} live streams are open already: close one, or ask without follow`);
        return streamEvents(context, question, facts(), stopping, (change) => {
          streams += change;
        });
      }
      const reply = async () => {
        const now = NEED_KERNEL.includes(name) ? await knowing(facts) : facts();
        return answer(context, await VIEWS[name](now, question), { isPretty: question.query.pretty });
      };
      return resource.query.includes("limit") ? lists.take(reply) : reply();
    });
  }
  app.get("/openapi.json", async (context) => {
    const { pretty } = readQuery("/openapi.json", parametersOf(context), []);
    const { describeApi } = await import("./openapi.ts");
    return answer(context, describeApi(facts().version), { isPretty: pretty });
  });
}

/** Facts with the kernel's state, which nobody knows for a moment while it is read anew: an empty list would be a lie. */
async function knowing(facts: () => Facts): Promise<Facts> {
  for (let waited = 0; waited < KERNEL_MS; waited += LOOK_MS) {
    const now = facts();
    if (now.actual !== undefined || now.desired === undefined) return now;
    await sleep(LOOK_MS);
  }
  throw new Refusal(503, "the kernel's state is being read anew, and is not known yet: ask again, and see /readyz");
}

function parametersOf(context: Context): URLSearchParams {
  return new URL(context.req.url, "http://localhost").searchParams;
}

function questionOf(context: Context, resource: Resource): Question {
  const { path } = context.req;
  const parameters = parametersOf(context);
  const query = readQuery(path, parameters, resource.query);
  const node = context.req.param("node");
  return { path, query, parameters, ...(node === undefined ? {} : { node }) };
}

function wantsStream(context: Context, { query }: Question): boolean {
  return query.follow ?? /\btext\/event-stream\b/.test(context.req.header("accept") ?? "");
}

function streamEvents(
  context: Context,
  question: Question,
  facts: Facts,
  stopping: AbortSignal,
  count: (change: 1 | -1) => void,
): Response {
  for (const name of ["limit", "offset"] as const) {
    if (question.query[name] !== undefined) throw new Refusal(400, `a live stream has no pages: leave out ${name}`);
  }
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };
  if (context.req.method === "HEAD") return context.body(null, 200, headers);
  const lastId = context.req.header("last-event-id");
  const after = lastId !== undefined && /^\d{1,15}$/.test(lastId) ? Number(lastId) : 0;
  count(1);
  const body = eventStream({
    events: facts.events,
    isAsked: eventFilter(facts, question),
    after,
    stopping,
    onEnd: () => count(-1),
  });
  return context.body(body, 200, headers);
}

/** What changes something: for whoever may open the socket of --debug-socket. */
export function addCommands(app: Hono, { control }: DebugParts): void {
  const commanded = (context: Context): AgentControl => {
    if (control !== undefined) return control;
    const { method, path } = context.req;
    throw new Refusal(403, `${method} ${path} is answered at the agent's --debug-socket alone, which is for its owner`);
  };
  app.post("/debug/resync", (context) => {
    const agent = commanded(context);
    readQuery(context.req.path, parametersOf(context), []);
    agent.resync();
    const asked: v.InferOutput<typeof ResyncAsked> = { askedAt: new Date().toISOString() };
    return answer(context, asked, { status: 202 });
  });
  const limited = bodyLimit({
    maxSize: MOST_BODY,
    onError: (context) => answer(context, { error: `a body may have at most ${MOST_BODY} bytes` }, { status: 413 }),
  });
  app.put("/debug/log-level", limited, async (context) => {
    const agent = commanded(context);
    readQuery(context.req.path, parametersOf(context), []);
    const { level } = await readBody(context, LogLevel, `{"level": "debug"}`);
    agent.setLogLevel(level);
    return answer(context, { level });
  });
}

async function readBody<S extends v.GenericSchema>(
  context: Context,
  schema: S,
  example: string,
): Promise<v.InferOutput<S>> {
  const type = context.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (type !== "application/json")
    throw new Refusal(415, `the body must be JSON (content-type: application/json), as in ${example}`);
  const json = v.pipe(v.string(), v.parseJson({}, "it is no JSON"), schema);
  const result = v.safeParse(json, await context.req.text());
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Refusal(400, `${v.getDotPath(issue) ?? "the body"}: ${issue.message}; it must be as in ${example}`);
}
