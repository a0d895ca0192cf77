import * as v from "valibot";
import { show } from "./schema.ts";

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
/** What may stand before the host, a password among it. */
const CREDENTIALS = /\/\/[^/,]*@/g;

/** One of etcd's addresses. Without a scheme it is `HOST:PORT`: whether it speaks TLS depends on other flags. */
function parseEndpoint(text: string): string | undefined {
  const given = text.trim();
  const hasScheme = SCHEME.test(given);
  const url = URL.parse(hasScheme ? given : `http://${given}`);
  if (url === null || !["http:", "https:"].includes(url.protocol)) return undefined;
  const { username, password, pathname, search, hash, host, origin } = url;
  if (username || password || search || hash || pathname !== "/") return undefined;
  return hasScheme ? origin : host;
}

/** A comma-separated list of etcd's addresses, at least one. */
export const EndpointsSchema = v.pipe(
  v.string(),
  v.rawTransform<string, readonly string[]>(({ dataset, addIssue, NEVER }) => {
    const endpoints = dataset.value.split(",").map(parseEndpoint);
    const good = endpoints.filter((endpoint) => endpoint !== undefined);
    if (good.length === endpoints.length) return good;
    const given = show(dataset.value.replace(CREDENTIALS, "//…@"));
    const advice = dataset.value.includes("@") ? " (a user goes into --etcd-username and --etcd-password)" : "";
    addIssue({
      message: `must be http://HOST:PORT or https://HOST:PORT, several separated by commas, not ${given}${advice}`,
    });
    return NEVER;
  }),
);
