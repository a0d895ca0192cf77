import type { Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import * as v from "valibot";
import { LogLevel, type ResyncAsked } from "../api/commands.ts";
import { RESOURCES, type Resource, type ResourceName } from "../api/resources.ts";
import { sleep } from "../base/backoff.ts";
import type { ListenAddress } from "../config/listen-address.ts";
import { answer, answerList } from "./answer.ts";
import type { AgentControl } from "./control.ts";
import { eventStream } from "./event-stream.ts";
import type { Facts } from "./facts.ts";
import { Places } from "./places.ts";
import { type Question, readQuery } from "./question.ts";
import { Refusal } from "./refusals.ts";
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
/** Lists of thousands that are being sent at a time; each costs some hundred kilobytes. */
const MOST_LISTS = 100;
/** What says nothing without the kernel's state, for which it waits so many milliseconds, looking each few. */
const NEED_KERNEL: readonly ResourceName[] = ["kernel", "diff"];
const KERNEL_MS = 2_000;
const LOOK_MS = 10;
/** bytes */
const MOST_BODY = 4096;

/** Everything that can be read. */
export function addResources(app: Hono, { facts, stopping }: DebugParts): void {
  const streams = new Places(MOST_STREAMS, "live streams are open already: close one, or ask without follow");
  const lists = new Places(
    MOST_LISTS,
    "long lists are being sent already: ask again in a moment, or for a smaller page",
  );
  for (const name of Object.keys(RESOURCES) as ResourceName[]) {
    const resource: Resource = RESOURCES[name];
    app.get(resource.path, async (context) => {
      const question = questionOf(context, resource);
      if (name === "events" && wantsStream(context, question))
        return streamEvents(context, question, facts(), stopping, streams);
      const now = NEED_KERNEL.includes(name) ? await knowing(facts) : facts();
      const document = await VIEWS[name](now, question);
      return answerList(context, document, { isPretty: question.query.pretty, places: lists });
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
  places: Places,
): Response {
  for (const name of ["limit", "offset"] as const) {
    if (question.query[name] !== undefined) throw new Refusal(400, `a live stream has no pages: leave out ${name}`);
  }
  const headers = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };
  if (context.req.method === "HEAD") return context.body(null, 200, headers);
  const lastId = context.req.header("last-event-id");
  const after = lastId !== undefined && /^\d{1,15}$/.test(lastId) ? Number(lastId) : 0;
  const onEnd = places.take();
  const body = eventStream({
    events: facts.events,
    isAsked: eventFilter(facts, question),
    after,
    stopping,
    onEnd,
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
