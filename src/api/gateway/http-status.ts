/** grpc-gateway's HTTP status for each gRPC code. */
const statuses = [...[200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501], ...[500, 503, 500, 401]];

export const httpStatusOf = (code: number): number => statuses[code] ?? 500;
