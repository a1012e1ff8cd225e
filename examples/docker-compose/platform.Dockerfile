# The simulated platform of the compose file.
FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY collector collector
COPY examples/docker-compose/platform examples/docker-compose/platform
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /platform ./examples/docker-compose/platform && \
    mkdir /certificates

FROM scratch
COPY --from=build /platform /bin/
# A new volume takes the owner of what it is mounted over.
COPY --from=build --chown=65532:65532 /certificates /certificates
USER 65532:65532
EXPOSE 8743
ENTRYPOINT ["/bin/platform"]
