# All programs in one image: gatehouse (both servers, migrations, the operator's commands), authserver, mcpserver.
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/ . ./authserver/cmd/authserver ./mcpserver/cmd/mcpserver \
 && mkdir /out/data /out/tmp

# Only the programs, and the certificates of public authorities.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/gatehouse /out/authserver /out/mcpserver /usr/local/bin/
COPY --from=build --chown=65532:65532 --chmod=700 /out/data /data
COPY --from=build --chown=65532:65532 --chmod=700 /out/tmp /tmp
USER 65532:65532
VOLUME /data
ENV GATEHOUSE_DATA_DIR=/data
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/gatehouse"]
CMD ["serve", "--issuer-listen=:8080", "--resource-listen=:8081"]
