// Reads lines of {"what": "answer" | "message", "corrId", "text"} and prints those that the SDK would not take,
// by the SDK's own guards (network/types.js) and by what its code demands beyond them.

import { createInterface } from "node:readline";
import * as sdk from "@resonatehq/sdk";

// promise.register_callback -> isPromiseRegisterCallbackRes
function guardOf(kind) {
  const name = kind.replace(/(^|[._])(.)/g, (_, __, letter) => letter.toUpperCase());
  return sdk[`is${name}Res`];
}

function faultOfAnswer(answer, corrId) {
  const guard = guardOf(answer.kind);
  if (guard === undefined) return `the SDK knows no ${answer.kind}`;
  if (!guard(answer) || !sdk.isResponse(answer)) return "the guard refuses it";
  if (answer.head.corrId !== corrId) return "it answers another request";
  if (!sdk.isSuccess(answer)) return null;
  if (answer.kind === "task.acquire" && !(sdk.isTaskRecord(answer.data.task) && answer.data.task.state === "acquired")) {
    return "Core.onMessage ends the process";
  }
  return null;
}

function faultOfMessage(message) {
  if (!sdk.isMessage(message)) return "the guard refuses it";
  if (message.kind === "unblock" && message.data.promise.state === "pending") return "Resonate.notify ends the process";
  return null;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { what, corrId, text } = JSON.parse(line);
  const parsed = JSON.parse(text);
  const fault = what === "answer" ? faultOfAnswer(parsed, corrId) : faultOfMessage(parsed);
  if (fault !== null) console.log(`${fault}: ${text}`);
}
