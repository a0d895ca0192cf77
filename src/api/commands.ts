import * as v from "valibot";
import { Time } from "./values.ts";

/** What can be asked of the agent over its unix socket alone. */

/** `POST /debug/resync` is answered once the loop knows of it. */
export const ResyncAsked = v.object({ askedAt: Time });

/** `PUT /debug/log-level`: the body, and the answer. */
export const LogLevel = v.object({ level: v.picklist(["info", "debug", "trace"]) });

/** Where the agent listens for it unless told otherwise. */
export const DEBUG_SOCKET = "/run/tartan/debug.sock";

/** Where the agent listens for readers unless told otherwise. */
export const DEBUG_ADDRESS = "127.0.0.1:8285";
