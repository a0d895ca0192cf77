import * as v from "valibot";

/** What Bun's and Node's errors carry. */
const codeSchema = v.object({ code: v.string() });

export function codeOf(error: unknown): string {
  return v.is(codeSchema, error) ? error.code : "";
}

/** What Bun advises the author of the call in its messages; it is of no use to whoever runs the agent. */
const ADVICE =
  /\s*(For more information, pass `verbose: true`[^.]*|Was there a typo in the url or port\?|Unable to connect\. Is the computer able to access the url\?)/g;

/** What `fetch` threw, in words for whoever runs the agent: the errno's name where it is one. */
export function plainError(error: unknown): Error {
  const code = codeOf(error);
  if (/^E(?!RR_)[A-Z_]+$/.test(code)) return new Error(code);
  const text = error instanceof Error ? error.message : String(error);
  return new Error(text.replace(ADVICE, "").replace(/:\s*$/, "") || code);
}

/** Where the connection itself failed, so that a proxy is what was not reached. */
const UNCONNECTED = [
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EACCES",
  "EINVAL",
  "ETIMEDOUT",
];

type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy that a request takes, and what says so. */
export interface Proxy {
  /** without a user or password */
  readonly host: string;
  readonly from: string;
}

/** The proxy that `fetch` takes to a URL because the environment says so. */
export function environmentProxy(url: string, environment: Environment = process.env): Proxy | undefined {
  const { protocol, hostname, host } = new URL(url);
  const scheme = protocol.slice(0, -1);
  const names = [`${scheme}_proxy`, `${scheme}_proxy`.toUpperCase(), "all_proxy", "ALL_PROXY"];
  const from = names.find((name) => environment[name]);
  if (from === undefined) return undefined;
  const exempt = (environment["no_proxy"] || environment["NO_PROXY"] || "").split(",").map((entry) => entry.trim());
  const isExempt = exempt.some((entry) => {
    const name = entry.replace(/^\./, "");
    return name !== "" && (name === "*" || name === hostname || name === host || hostname.endsWith(`.${name}`));
  });
  return isExempt ? undefined : { host: hostOf(environment[from] ?? ""), from };
}

/** A proxy's host and port, from what is configured. */
export function hostOf(proxy: string): string {
  return URL.parse(proxy.includes("://") ? proxy : `http://${proxy}`)?.host ?? "of a malformed URL";
}

/** What is wrong with a proxy, from what `fetch` threw; undefined where that is not about it. */
export function proxyProblem({ host, from }: Proxy, error: unknown): string | undefined {
  const code = codeOf(error);
  const start = `the proxy ${host} (${from})`;
  if (UNCONNECTED.includes(code)) return `${start} can't be reached (${code}); see that it runs, or correct ${from}`;
  if (code === "ERR_PROXY_TUNNEL")
    return `${start} does not let it through (${plainError(error).message}); have it allowed there, or correct ${from}`;
  return undefined;
}
